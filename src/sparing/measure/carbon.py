"""Grams of CO2e per kilowatt hour, by country, without a network.

Yearly averages over a country's whole generation (location-based, life-cycle): they say nothing
about one hour, one contract or certificates.  A user who knows better states the number.
"""

from sparing.base.config import nearest
from sparing.base.errors import ConfigError
from sparing.measure.units import Intensity

SOURCE = "Ember and Energy Institute via Our World in Data, CC BY 4.0"
"""https://ourworldindata.org/grapher/carbon-intensity-electricity"""

WORLD = "WORLD"

# ISO 3166-1 alpha-3 -> (g CO2e per kWh, year).
GRAMS_PER_KWH: dict[str, tuple[float, int]] = {
    WORLD: (481, 2023),  # Ember, Global Electricity Review 2024
    "ARE": (561, 2022),
    "ARG": (354, 2023),
    "AUS": (549, 2023),
    "AUT": (111, 2023),
    "BEL": (138, 2023),
    "BGD": (691, 2023),
    "BGR": (335, 2023),
    "BRA": (98, 2023),
    "CAN": (170, 2023),
    "CHE": (35, 2023),
    "CHL": (291, 2023),
    "CHN": (582, 2023),
    "COL": (260, 2023),
    "CZE": (450, 2023),
    "DEU": (381, 2023),
    "DNK": (152, 2023),
    "EGY": (570, 2023),
    "ESP": (174, 2023),
    "EST": (417, 2023),
    "FIN": (79, 2023),
    "FRA": (56, 2023),
    "GBR": (238, 2023),
    "GRC": (337, 2023),
    "HUN": (204, 2023),
    "IDN": (676, 2022),
    "IND": (713, 2023),
    "IRL": (291, 2023),
    "IRN": (655, 2023),
    "ISL": (28, 2022),
    "ISR": (583, 2022),
    "ITA": (331, 2023),
    "JPN": (485, 2023),
    "KEN": (70, 2023),
    "KOR": (431, 2023),
    "MAR": (630, 2023),
    "MEX": (507, 2023),
    "MYS": (606, 2022),
    "NGA": (523, 2023),
    "NLD": (268, 2023),
    "NOR": (30, 2023),
    "NZL": (113, 2023),
    "PAK": (441, 2023),
    "PHL": (611, 2023),
    "POL": (662, 2023),
    "PRT": (166, 2023),
    "ROU": (241, 2023),
    "RUS": (441, 2023),
    "SAU": (707, 2022),
    "SGP": (471, 2023),
    "SWE": (41, 2023),
    "THA": (550, 2023),
    "TUR": (465, 2023),
    "TWN": (642, 2023),
    "UKR": (260, 2022),
    "USA": (369, 2023),
    "VNM": (475, 2023),
    "ZAF": (708, 2023),
}


def intensity(country: str = WORLD, *, stated: float | None = None) -> Intensity:
    """The intensity of a country's electricity, or the user's own figure in g/kWh.

    Errors: ConfigError for a country that is not in the table, naming the way out.
    """
    if stated is not None:
        return Intensity(stated, "as stated by the user")
    code = country.upper()
    if code not in GRAMS_PER_KWH:
        hint = nearest(code, GRAMS_PER_KWH) or "; state grams_per_kwh instead"
        raise ConfigError(f"country: expected an ISO code of the table, got {country!r}{hint}")
    grams, year = GRAMS_PER_KWH[code]
    place = "world average, as no country was stated" if code == WORLD else code
    return Intensity(grams, f"{place}, {year}, {SOURCE}")
