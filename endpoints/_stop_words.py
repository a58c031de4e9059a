"""Words without a meaning of their own, in English and in Romanian.

Spelled without diacritics, and with the parts of I'm or într-o each by itself, as
`tokens` in `_bilingual.py` cuts words.
"""

from __future__ import annotations

_ENGLISH = """
a about after again all also am an and any are as at be because been before being both but by can
could did do does doing done down during each few for from further get had has have having he her
here hers him his how i if in into is it its itself just me more most my no nor not of off on once
one only or other our out over own same she should so some such than that the their them then
there these they this those through to too under until up us very was we were what when where
which while who whom whose why will with would you your s t d ll m re ve don didn doesn isn wasn
aren weren won wouldn couldn shouldn called
"""
_ROMANIAN = """
a abia acea aceasta aceea acei aceia acel acela acelasi acele acelea acest acesta aceste acestea
acestei acestia acestui adica ai aia aici al ala alaturi ale alt alta alte altfel alti altii altul
am anume ar are as asa asemenea asta astea asupra atat ati atunci au avea aveau avem aveti avut ba
ca cam can care carei caror carui cat cate cati catre ce cea cealalta cei ceilalti cel cele celor
chiar ci cine cineva cite cu cui cum cumva da daca dar de deci deja desi despre din dintr dintre
doar dupa e ea ei el ele era erau este eu fara fi fie fiecare fiind foarte fost i ia iar ii il imi
in inca incat insa intr intre isi iti l la le li lor lui m ma mai mea mei mele mereu meu mi mie
mine n ne ni nici niste noastra noastre noi nostri nostru nu numai o or ori oricare orice pana pe
pentru peste pot prea prin printre s sa sai sale sau se si sunt suntem sunteti t ta tai tale tau
te ti tot toata toate toti totul totusi tu un una unde unei unele unii unor unui unul va vi
voastra vom vor vostru voi vreo vreun numeste numesc afla
"""
ENGLISH_STOP_WORDS = frozenset(_ENGLISH.split())
ROMANIAN_STOP_WORDS = frozenset(_ROMANIAN.split())
