"""What the console says, by language. Every text exists in both."""

from collections.abc import Mapping

from percorso_services.console.language import Language
from percorso_services.console.texts.en import EN
from percorso_services.console.texts.it import IT

TEXTS: Mapping[Language, Mapping[str, str]] = {"it": IT, "en": EN}
