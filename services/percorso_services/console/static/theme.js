// Before the first paint: nothing to do, the server has set data-theme from the cookie. The switch sets it.
(function () {
  "use strict";
  document.addEventListener("click", function (event) {
    if (!event.target.closest("[data-theme-switch]")) return;
    var root = document.documentElement;
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = "percorso_theme=" + root.dataset.theme + ";path=/;max-age=31536000;samesite=lax";
  });
})();
