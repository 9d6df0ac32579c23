"""cupola makes small models from a folder of one's own work, inside a budget, and proves them."""

__version__ = "0.1.0"
