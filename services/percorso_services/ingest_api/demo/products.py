"""What the shop pretends to sell."""

from dataclasses import dataclass

from percorso_services.ingest_api.demo.texts import Language


@dataclass(frozen=True)
class Product:
    slug: str
    price_cents: int
    names: dict[Language, str]
    leads: dict[Language, str]
    stories: dict[Language, str]

    def price(self, language: Language) -> str:
        """`12,50 €` or `€12.50`."""
        euros = f"{self.price_cents / 100:.2f}"
        return f"{euros.replace('.', ',')} €" if language == "it" else f"€{euros}"


PRODUCTS = (
    Product(
        "olio", 1450,
        {"it": "Olio nuovo di Casa Ferri", "en": "New oil from Casa Ferri"},
        {"it": "Franto la sera della raccolta, 75 cl.", "en": "Pressed on the evening of the harvest, 75 cl."},
        {"it": "Undici filari sopra il lago, raccolti a mano in ottobre. Sa di carciofo e di erba tagliata, pizzica un "
               "poco, e finisce presto.",
         "en": "Eleven rows above the lake, picked by hand in October. It tastes of artichoke and cut grass, stings a "
               "little, and is soon gone."}),
    Product(
        "miele", 980,
        {"it": "Miele di tiglio di Nonna Ida", "en": "Nonna Ida’s lime-tree honey"},
        {"it": "Una fioritura, un vasetto, 400 g.", "en": "One blossom, one jar, 400 g."},
        {"it": "Le arnie stanno sotto i tigli della vecchia stazione. Chiaro, fresco, quasi di menta: sul pane, senza "
               "altro.",
         "en": "The hives stand under the lime trees of the old station. Pale, fresh, nearly minty: on bread, with "
               "nothing else."}),
    Product(
        "pasta", 420,
        {"it": "Pasta lenta dei fratelli Sala", "en": "Slow pasta from the Sala brothers"},
        {"it": "Trafilata al bronzo, due giorni ad asciugare, 500 g.",
         "en": "Drawn through bronze, two days to dry, 500 g."},
        {"it": "Grano duro di un solo campo, acqua e pazienza. Tiene la cottura e abbraccia il sugo.",
         "en": "Durum wheat from a single field, water and patience. It keeps its bite and holds the sauce."}),
)
BY_SLUG = {product.slug: product for product in PRODUCTS}
