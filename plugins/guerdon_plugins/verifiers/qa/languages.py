"""Articles, months, number words and words for yes and no, by language."""

from __future__ import annotations

ARTICLES = {
    "ca": "el la els les l' un una uns unes",
    "de": "der die das den dem des ein eine einen einem einer eines",
    "en": "a an the",
    "es": "el la los las un una unos unas",
    "fr": "le la les l' un une des",
    "it": "il lo la i gli le l' un uno una un'",
    "nl": "de het een",
    "pt": "o a os as um uma uns umas",
    "sv": "en ett den det de",
}
"""The articles of a language, which do not change an answer."""

DECIMAL_COMMA = frozenset("ca cs da de el es fi fr hu id it nl no pl pt ro ru sv tr uk vi".split())  # noqa: SIM905
"""Languages that write 1.234,5 for 1234.5."""

MONTHS = {
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "en": "january february march april may june july august september october november december",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
}
SHORT_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
"""English abbreviations; ``sept`` is read too."""

NUMBER_WORDS = {
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "nl": "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze",
    "ru": "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
    "zh": "零 一 二 三 四 五 六 七 八 九 十 十一 十二",
    "ja": "零 一 二 三 四 五 六 七 八 九 十 十一 十二",
}
"""The numbers from 0, in words."""

TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
"""The tens of English from 20."""

SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "万": 10**4,
    "萬": 10**4,
    "亿": 10**8,
    "億": 10**8,
}

YES = tuple("yes true ja oui sí si sim sì da да نعم हाँ 是 是的 对 正确 はい 예 네".split())  # noqa: SIM905
NO = tuple("no false nein non não nee nej нет لا नहीं 否 不是 不 错误 いいえ 아니요 아니오".split())  # noqa: SIM905
