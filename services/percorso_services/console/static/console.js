// Times in the reader's own zone, and the live list.
(function () {
  "use strict";
  var MOST = 200;
  var language = document.documentElement.lang;
  var clock = new Intl.DateTimeFormat(language, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
  var calendar = new Intl.DateTimeFormat(language, {dateStyle: "medium", timeStyle: "medium", hourCycle: "h23"});

  function localTimes(root) {
    root.querySelectorAll("time[datetime]:not([data-local])").forEach(function (element) {
      var instant = new Date(element.dateTime);
      var today = new Date().toDateString() === instant.toDateString();
      element.title = element.textContent;
      element.textContent = (today ? clock : calendar).format(instant);
      element.dataset.local = "";
    });
  }
  localTimes(document);
  document.addEventListener("htmx:afterSwap", function () { localTimes(document); });
  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target.id !== "mail") return;
    document.querySelectorAll(".mails a").forEach(function (link) {
      if (link.pathname === location.pathname) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
    document.querySelector(".mailbox").classList.add("chosen");
    event.detail.target.scrollIntoView({block: "nearest"});
  });

  var list = document.querySelector("[data-live]");
  if (!list) return;
  var state = document.querySelector("[data-live-state]");
  var button = document.querySelector("[data-live-pause]");
  var form = document.querySelector("[data-live-filter]");
  var stream = null;

  function say(what) {
    state.textContent = state.dataset[what];
    state.dataset.now = what;
  }

  function arrived(event) {
    var holder = document.createElement("ol");
    holder.innerHTML = event.data;
    localTimes(holder);
    Array.from(holder.children).reverse().forEach(function (row) {
      if (list.querySelector('[data-key="' + row.dataset.key + '"]')) return;
      row.classList.add("new");
      list.prepend(row);
    });
    while (list.children.length > MOST) list.lastElementChild.remove();
    var empty = document.querySelector("[data-live-empty]");
    if (empty && list.children.length) empty.remove();
  }

  function open() {
    var query = new URLSearchParams(new FormData(form));
    query.set("since", list.firstElementChild ? list.firstElementChild.dataset.key : "");
    stream = new EventSource(list.dataset.live + "?" + query);
    stream.addEventListener("open", function () { say("watching"); });
    stream.addEventListener("rows", arrived);
    stream.addEventListener("error", function () {
      say("lost");
      // A refused stream is not tried again by the browser itself.
      if (stream && stream.readyState === EventSource.CLOSED) setTimeout(function () { if (stream) { close(); open(); } }, 5000);
    });
  }

  function close() {
    if (stream) stream.close();
    stream = null;
  }

  button.addEventListener("click", function () {
    if (stream) {
      close();
      say("paused");
      button.textContent = button.dataset.resume;
    } else {
      open();
      button.textContent = button.dataset.pause;
    }
  });
  form.querySelector("select").addEventListener("change", function () { form.requestSubmit(); });
  addEventListener("pagehide", close);
  addEventListener("pageshow", function (event) { if (event.persisted) open(); });
  open();
})();
