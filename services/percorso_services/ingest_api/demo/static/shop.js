// What this shop tells Percorso beyond what the beacon sees by itself (pages, form starts and submits).
(function () {
  "use strict";
  var percorso = window.percorso;
  var zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  var product = document.querySelector("[data-product]");
  if (product && percorso) {
    var properties = {product_id: product.dataset.product, price: Number(product.dataset.price), currency: "EUR"};
    percorso.track("Product Viewed", properties);
    product.querySelector("[data-add]").addEventListener("click", function (event) {
      percorso.track("Product Added", properties);
      product.querySelector("[data-status]").textContent = event.currentTarget.dataset.done;
    });
  }

  // The beacon sends form_submitted, with the registration's id, right after this.
  var registration = document.querySelector("form[data-register]");
  if (registration) {
    registration.elements.namedItem("tz").value = zone;
    registration.addEventListener("submit", function () {
      var fields = registration.elements;
      if (percorso) {
        percorso.identify({
          email: fields.namedItem("email").value.trim(),
          name: fields.namedItem("name").value.trim(),
          consent: {marketing: fields.namedItem("consent").checked},
          locale: fields.namedItem("locale").value,
          tz: fields.namedItem("tz").value
        });
      }
    });
  }

  // The link in the mail carries the address behind the #, so that a confirmation on another device is the same person's.
  var confirmation = document.querySelector("form[data-confirm]");
  if (confirmation) {
    confirmation.addEventListener("submit", function () {
      if (!percorso) return;
      var email = new URLSearchParams(location.hash.slice(1)).get("e");
      if (email) percorso.identify({email: email});
      percorso.track("registration_confirmed", {registration_id: confirmation.dataset.confirm});
    });
  }
})();
