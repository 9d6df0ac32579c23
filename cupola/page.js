// j and k walk over the pieces, space plays the focused one, and only one plays at a time. The page says all it has to say without this.
(function () {
  "use strict";
  var pieces = Array.prototype.slice.call(document.querySelectorAll(".piece"));
  var players = Array.prototype.slice.call(document.querySelectorAll("audio"));

  players.forEach(function (player) {
    player.addEventListener("play", function () {
      players.forEach(function (other) { if (other !== player) { other.pause(); } });
    });
  });

  function here() {
    var active = document.activeElement;
    return pieces.findIndex(function (piece) { return piece.contains(active); });
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !pieces.length) { return; }
    var at = here();
    if (event.key === "j" || event.key === "k") {
      var next = event.key === "j" ? at + 1 : (at < 0 ? 0 : at - 1);
      pieces[Math.max(0, Math.min(pieces.length - 1, next))].focus();
    } else if (event.key === " " && at >= 0 && document.activeElement === pieces[at]) {
      var player = pieces[at].querySelector("audio");
      if (!player) { return; }
      event.preventDefault();  // the browser would scroll a page down
      if (player.paused) { player.play(); } else { player.pause(); }
    }
  });
})();
