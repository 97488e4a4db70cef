"""The table of units: names in several languages, and the value of each unit in base units.

A row of the table: the unit's own name, its value in base units, and its other names. Rows of ``_PREFIXED`` take the
SI prefixes. The names of money, counts and other things that do not convert are base units of their own.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

Powers = tuple[tuple[str, int], ...]

_EXPONENTS = {
    **dict(zip("E P T G M k h da".split(), (18, 15, 12, 9, 6, 3, 2, 1), strict=True)),  # noqa: SIM905
    **dict(zip("d c m μ n p f a".split(), (-1, -2, -3, -6, -9, -12, -15, -18), strict=True)),  # noqa: SIM905
}
_PREFIX_WORDS = {
    "tera": "T",
    "giga": "G",
    "mega": "M",
    "kilo": "k",
    "hecto": "h",
    "deca": "da",
    "deci": "d",
    "centi": "c",
    "milli": "m",
    "micro": "μ",
    "nano": "n",
    "pico": "p",
    "femto": "f",
    "千": "k",
    "分": "d",
    "厘": "c",
    "毫": "m",
    "微": "μ",
    "纳": "n",
    "兆": "M",
    "к": "k",
    "с": "c",
    "м": "m",
}

# symbol: (value, base units, words)
_PREFIXED: dict[str, tuple[str, str, str]] = {
    "m": (
        "1",
        "m",
        "meter meters metre metres metro metros mètre mètres метр метра метров м 米 メートル 미터",
    ),
    "g": ("1", "g", "gram grams gramme grammes gramo gramos грамм г 克 グラム 그램"),
    "second": ("1", "second", "s sec secs seconds сек 秒 秒钟 초 segundos"),
    "A": ("1", "A", "amp amps ampere amperes 安 安培"),
    "K": ("1", "K", "kelvin kelvins 开 开尔文"),
    "mol": ("1", "mol", "mole moles 摩尔"),
    "cd": ("1", "cd", "candela candelas"),
    "N": ("1000", "g m second-2", "newton newtons 牛 牛顿"),
    "Pa": ("1000", "g m-1 second-2", "pascal pascals 帕 帕斯卡"),
    "J": ("1000", "g m2 second-2", "joule joules 焦 焦耳"),
    "W": ("1000", "g m2 second-3", "watt watts 瓦 瓦特"),
    "V": ("1000", "g m2 second-3 A-1", "volt volts 伏 伏特"),
    "Ω": ("1000", "g m2 second-3 A-2", "ohm ohms 欧 欧姆"),
    "S": ("1/1000", "g-1 m-2 second3 A2", "siemens"),
    "C": ("1", "A second", "coulomb coulombs 库仑"),
    "F": ("1/1000", "g-1 m-2 second4 A2", "farad farads 法拉"),
    "H": ("1000", "g m2 second-2 A-2", "henry henries henrys 亨利"),
    "T": ("1000", "g second-2 A-1", "tesla teslas 特斯拉"),
    "Wb": ("1000", "g m2 second-2 A-1", "weber webers 韦伯"),
    "Hz": ("1", "second-1", "hertz 赫兹"),
    "Bq": ("1", "decay second-1", "becquerel becquerels"),
    "Gy": ("1", "m2 second-2", "gray grays"),
    "Sv": ("1", "m2 second-2 dose", "sievert sieverts"),
    "eV": ("1602176634/10000000000000000000000000", "g m2 second-2", "electronvolt electronvolts"),
    "cal": ("4184", "g m2 second-2", "calorie calories 卡"),
    "Wh": ("3600000", "g m2 second-2", "瓦时"),
    "liter": ("1/1000", "m3", "l L liters litre litres litro litros литр литров л 升 リットル 리터"),
    "byte": ("8", "bit", "bytes 字节"),
    "bit": ("1", "bit", "bits"),
    "bar": ("100000000", "g m-1 second-2", "bars"),
}
_SYMBOL_OF = {"second": "s", "liter": "L", "byte": "B"}

_PLAIN: dict[str, tuple[str, str, str]] = {
    "inchmark": ("254/10000", "m", ""),
    "footmark": ("3048/10000", "m", ""),
    "inch": ("254/10000", "m", "in inches 英寸"),
    "foot": ("3048/10000", "m", "ft feet 英尺"),
    "yard": ("9144/10000", "m", "yd yds yards"),
    "mile": ("1609344/1000", "m", "mi miles 英里"),
    "nautical mile": ("1852", "m", "海里"),
    "ångström": ("1/10000000000", "m", "Å angstrom angstroms ångströms"),
    "astronomical unit": ("149597870700", "m", "AU"),
    "light-year": ("9460730472580800", "m", "ly lightyear lightyears 光年"),
    "里": ("500", "m", "华里"),
    "公里": ("1000", "m", ""),
    "公分": ("1/100", "m", ""),
    "hectare": ("10000", "m2", "ha hectares 公顷"),
    "are": ("100", "m2", "ares"),
    "acre": ("40468564224/10000000", "m2", "acres 英亩"),
    "亩": ("20000/30", "m2", ""),
    "tonne": ("1000000", "g", "tonnes 吨 т"),
    "ton": ("1000000", "g", "tons"),
    "quintal": ("100000", "g", "quintals"),
    "公斤": ("1000", "g", ""),
    "斤": ("500", "g", ""),
    "ounce": ("28349523125/1000000000", "g", "oz ounces"),
    "pound": ("45359237/100000", "g", "lb lbs pounds"),
    "stone": ("635029318/100000", "g", ""),
    "gallon": ("3785411784/1000000000000", "m3", "gal gallons"),
    "quart": ("946352946/1000000000000", "m3", "qt quarts"),
    "pint": ("473176473/1000000000000", "m3", "pints"),
    "cup": ("cup", "", "cups"),
    "tablespoon": ("tablespoon", "", "tbsp tablespoons"),
    "teaspoon": ("teaspoon", "", "tsp teaspoons"),
    "minute": ("60", "second", "min mins minutes мин 分钟 分鐘 분 minutos"),
    "hour": ("3600", "second", "h hr hrs hours час часа часов ч 小时 小時 时 時間 시간 horas heures"),
    "day": ("86400", "second", "days д день дней 天 日 días jours"),
    "week": ("604800", "second", "weeks 周 星期"),
    "fortnight": ("1209600", "second", "fortnights"),
    "month": ("month", "", "months 月 个月"),
    "year": ("12", "month", "yr yrs years 年 años лет"),
    "decade": ("120", "month", "decades"),
    "century": ("1200", "month", "centuries 世纪"),
    "age": ("age", "", "岁"),
    "dollar": ("dollar", "", "dollars USD 美元 bucks"),
    "cent": ("1/100", "dollar", "cents ¢ penny pennies 美分"),
    "euro": ("euro", "", "euros EUR €"),
    "sterling": ("sterling", "", "GBP £"),
    "yuan": ("yuan", "", "RMB CNY ¥ 元 块钱 元钱 人民币"),
    "角": ("1/10", "yuan", ""),
    "fen": ("1/100", "yuan", ""),
    "yen": ("yen", "", "JPY 円 日元"),
    "won": ("won", "", "KRW 원 ₩"),
    "ruble": ("ruble", "", "rubles roubles rub руб рублей рубля ₽"),
    "rupee": ("rupee", "", "rupees Rs INR ₹"),
    "peso": ("peso", "", "pesos"),
    "radian": ("radian", "", "rad radians 弧度"),
    "steradian": ("steradian", "", "sr steradians"),
    "revolution": ("revolution", "", "rev revolutions"),
    "celsius": ("celsius", "", "摄氏度"),
    "fahrenheit": ("fahrenheit", "", "华氏度"),
    "unit": ("unit", "", "units 单位 个单位 单位长度 个单位长度"),
    "atm": ("101325000", "g m-1 second-2", "atmosphere atmospheres 大气压"),
    "mmHg": ("133322387415/1000000", "g m-1 second-2", "torr Torr"),
    "psi": ("psi", "", ""),
    "dyne": ("1/100", "g m second-2", "dyn dynes"),
    "erg": ("1/10000", "g m2 second-2", "ergs"),
    "horsepower": ("horsepower", "", "hp"),
    "decibel": ("decibel", "", "dB decibels"),
    "knot": ("1852/3600", "m second-1", "knots kn"),
    "debye": ("debye", "", "debyes"),
    "amu": ("amu", "", "u Da"),
    "M": ("M", "", ""),
    "gauss": ("1/10", "g second-2 A-1", ""),
    "lumen": ("lumen", "", "lm lumens"),
    "lux": ("lux", "", "lx"),
    "度电": ("3600000000", "g m2 second-2", ""),
}
_COMPOUND = {
    "ml": "mL",
    "mls": "mL",
    "mph": "mile hour-1",
    "kph": "km hour-1",
    "kmh": "km hour-1",
    "kmph": "km hour-1",
    "mpg": "mile gallon-1",
    "mpg.": "mile gallon-1",
    "rpm": "revolution minute-1",
    "rps": "revolution second-1",
    "fps": "foot second-1",
    "mps": "m second-1",
    "cc": "cm3",
    "sqft": "foot2",
}
_PHRASES = {
    "pounds sterling": "sterling",
    "light years": "light-year",
    "light year": "light-year",
    "nautical miles": "nautical mile",
    "kilowatt hours": "kWh",
    "kilowatt-hours": "kWh",
    "watt hours": "Wh",
    "atomic mass units": "amu",
    "astronomical units": "astronomical unit",
    "degrees celsius": "celsius",
}
_SINGLE_LETTERS = frozenset("mgshlLNJWVAKCFTHM")
"""The letters that are a unit by themselves in ``\\text``."""
AMBIGUOUS = frozenset(("M", "footmark", "inchmark", "azimuth"))
"""Units that may be something else as well (moles in a liter or millions, feet or minutes), and the angle from north:
they cannot be left out."""


def _powers(text: str) -> Powers:
    """Read ``g m2 second-2`` as powers by name."""
    found = []
    for word in text.split():
        name = word.rstrip("-0123456789")
        exponent = int(word[len(name) :] or 1)
        if exponent:
            found.append((name, exponent))
    return tuple(sorted(found))


def _rows() -> tuple[dict[str, Powers], dict[str, tuple[Powers, Fraction]], dict[str, str]]:
    """Return what each word names, each unit's value, and the symbol of each word that takes an SI prefix."""
    names: dict[str, Powers] = {}
    values: dict[str, tuple[Powers, Fraction]] = {}
    symbols: dict[str, str] = {}
    for table in (_PREFIXED, _PLAIN):
        for name, (value, base, words) in table.items():
            values[name] = (_powers(base), Fraction(value)) if base else (((name, 1),), Fraction(1))
            for word in (name, *words.split()):
                names.setdefault(word, ((name, 1),))
                if table is _PREFIXED and (len(word) > 2 or not word.isascii()):
                    symbols[word] = name
    for words, unit in _PHRASES.items():
        names[words] = ((unit, 1),)
    for word, unit in _COMPOUND.items():
        names[word] = _powers(unit)
    for letter in [
        word for word in names if len(word) == 1 and word.isascii() and word not in _SINGLE_LETTERS
    ]:
        del names[letter]
    return names, values, symbols


_NAMES, _VALUES, _ROOTS = _rows()
_SYMBOLS = {_SYMBOL_OF.get(name, name): name for name in _PREFIXED}


@lru_cache(maxsize=4096)
def unit_powers(word: str) -> Powers | None:
    """Return the powers of units that a word names: ``km``, ``kilometers``, ``千米``; ``None`` for other words."""
    if found := _NAMES.get(word):
        return found
    for prefix, root in _prefixed(word):
        return ((f"{prefix}{_SYMBOL_OF.get(root, root)}", 1),)
    return None


@lru_cache(maxsize=4096)
def unit_value(name: str) -> tuple[Powers, Fraction]:
    """Return the base units of a unit, by its own name, and how many of them it is."""
    if found := _VALUES.get(name):
        return found
    for prefix, root in _prefixed(name):
        base, value = _VALUES[root]
        return base, value * Fraction(10) ** _EXPONENTS[prefix]
    return ((name, 1),), Fraction(1)


def _prefixed(word: str) -> list[tuple[str, str]]:
    """Return the SI prefix of a word and the unit behind it, if it has one."""
    for length in (1, 2):
        if word[:length] in _EXPONENTS and (root := _SYMBOLS.get(word[length:])):
            return [(word[:length], root)]
    for prefix, symbol in _PREFIX_WORDS.items():
        if word.startswith(prefix) and (root := _ROOTS.get(word[len(prefix) :])):
            return [(symbol, root)]
    return []
