"""A small WordPiece vocabulary for checkpoints of random weights. It can write every lower-case English text in ASCII,
and everyday words are one piece."""

from __future__ import annotations

import string

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

SUFFIXES = """
s es ed d ing er ers or est ly y ies ied ier n en t ve re ll m al ally ic ical ist ism ity ty ment ments ness less ful
fully able ible ably ation ations tion tions sion ion ions ive ively ous ously ance ence ant ent ary ery ory age ship
hood dom ward wards wise like man men woman women self selves th teen ty some thing one body where how ever side time
work day room house book light land way line back out up down off in on over un ter ber der ger ker ler mer ner per ser
ver le el et an ar as at ate ates ated ating ck ct ch sh st nd nt ng nk rd rt ld lt mp pt ss ff tt ee ea oo ou ow ai ay
oi oy au aw ie ei ue ui ia io ra re ri ro ru la li lo lu ma mi mo mu na ne ni no nu ta te ti to tu da de di do du sa se
si so su ka ke ki ko ku pa pe pi po pu ba be bi bo bu ga ge gi go gu va vi vo ha he hi ho hu
"""

WORDS = """
a an the this that these those some any no every each either neither both all half many much more most few less least
several enough other another such own same one two three four five six seven eight nine ten eleven twelve thirteen
twenty thirty forty fifty sixty hundred thousand million billion first second third last next once twice dozen

i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself we us our
ours ourselves they them their theirs themselves who whom whose which what whatever whoever someone anyone everyone
nobody somebody anybody everybody something anything everything nothing

and or but nor so yet for if unless because although though while when whenever where wherever why how whether since
until before after as than then once not never always often sometimes usually rarely seldom already still again also
too very quite rather almost nearly only just even ever here there now today tomorrow yesterday soon later early late
away back together apart alone perhaps maybe indeed instead however therefore thus hence otherwise meanwhile please yes

of in to on at by with from up about into over after under between out against during without through across toward
towards behind beyond within along among around above below beside near inside outside off down upon per despite except

be am is are was were been being have has had having do does did done doing will would shall should can could may might
must ought need dare cannot don isn aren wasn weren hasn haven hadn doesn didn won wouldn shouldn couldn let

say says said tell told ask answer speak spoke spoken talk call shout whisper write wrote written read think thought
know knew known believe understand understood learn learned teach taught remember forget forgot forgotten mean meant
see saw seen look watch hear heard listen feel felt smell taste touch seem appear become became look sound show shown
go went gone come came arrive leave left enter return walk run ran drive drove driven ride rode ridden fly flew flown
swim swam sail travel move turn stop start begin began begun end finish continue follow lead led bring brought take
took taken carry send sent give gave given get got receive buy bought sell sold pay paid cost spend spent earn lend
borrow owe steal stole stolen keep kept hold held catch caught throw threw thrown drop pick put place set lay laid lie
sit sat stand stood rise rose risen raise fall fell fallen climb jump push pull hit kick cut break broke broken tear
build built make made create draw drew drawn paint cook bake boil eat ate eaten drink drank feed fed wash clean fix
repair open close shut lock unlock fill empty cover wear wore worn sleep slept wake woke dream live die kill grow grew
grown plant bear born love like hate want wish hope fear worry enjoy prefer choose chose chosen decide plan try tried
help allow permit forbid force cause happen change increase reduce improve win won lose lost beat fight fought attack
defend protect save hide hid hidden find found search discover notice count measure weigh compare add join meet met
visit invite welcome marry thank greet praise blame punish reward promise admit deny claim argue agree refuse accept
reject offer suggest propose recommend explain describe report announce expect predict prove doubt suppose wonder
consider convince persuade warn order sign stay wait remain rest play sing sang sung dance laugh smile cry work study
use share divide separate contain include belong depend exist produce sell hire fire elect appoint serve support wipe

man men woman women boy girl child children baby person people friend enemy neighbor guest stranger crowd family mother
father parent son daughter brother sister uncle aunt cousin husband wife king queen prince president minister mayor
judge lawyer doctor nurse teacher student pupil professor scientist engineer artist painter writer author poet singer
actor dancer musician soldier officer captain sailor pilot driver farmer baker cook waiter butcher tailor carpenter
worker manager boss secretary clerk customer owner player coach team member leader reporter editor critic expert thief

dog cat horse cow pig sheep goat bird chicken duck fish mouse rabbit bear wolf fox lion tiger elephant monkey snake frog
insect bee butterfly spider tree flower rose grass leaf leaves root seed fruit apple pear orange lemon banana grape
berry potato tomato onion bean rice bread butter cheese milk egg meat beef soup salad cake pie sugar salt tea coffee
water wine beer juice meal breakfast lunch dinner

house home room kitchen door window wall floor roof table chair bed desk shelf lamp clock mirror key box bag basket
bottle cup glass plate bowl spoon fork knife pot oven fire smoke soap towel shirt coat hat shoe dress sock glove ring
watch book page paper letter note story poem song picture photo map list card newspaper magazine pen pencil phone
computer screen machine engine wheel car truck bus train plane ship boat bicycle road street path bridge station airport
harbor park garden field farm forest mountain hill valley river lake sea ocean beach island desert sky sun moon star
cloud rain snow wind storm ice earth stone rock sand dust gold silver iron steel wood cloth leather rubber plastic

city town village country nation state capital world school university college class lesson course test exam question
problem solution idea plan theory fact truth lie reason cause effect result example case point part piece side end
middle top bottom front center corner line circle square shape size number amount price money coin bank tax bill debt
company business market shop store office factory hospital hotel restaurant museum library theater church court prison
police army war peace law rule right power government election vote party meeting speech agreement deal contract share
stock profit sale trade industry product service job career game match race prize goal score music film movie play show
news report article study research science history art language word sentence name title message voice sound noise smell
color picture light shadow heat cold health body head face eye ear nose mouth tooth teeth hair neck shoulder arm hand
finger back heart blood bone skin leg knee foot feet mind memory dream feeling love joy anger fear pain hunger sleep
death life age year month week day night morning evening afternoon hour minute moment time season spring summer autumn
winter monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
october november december

good better best bad worse worst big large small little tiny huge great long short tall high low wide narrow deep thick
thin heavy light strong weak hard soft fast quick slow early late old young new fresh ancient modern hot warm cool cold
wet dry clean dirty full empty rich poor cheap expensive free busy ready able sure certain likely possible impossible
true false right wrong real main major minor common rare special strange normal simple easy difficult clear dark bright
red blue green yellow black white brown gray pink quiet loud happy sad angry afraid proud tired sick healthy dead alive
brave clever wise stupid kind cruel polite rude honest careful famous popular important necessary useful dangerous safe
beautiful pretty ugly nice lovely sweet bitter sharp flat round square open public private local foreign national
general whole single double different similar equal recent past present future final total average

quickly slowly carefully easily suddenly finally recently probably certainly clearly really simply exactly completely
un re dis mis pre pro con com ex inter trans sub super non anti co de im ir il bi tri auto tele micro multi semi

especially percent dollar dollars pound euro mr mrs ms dr john mary bill tom jane peter paul anna susan david robert
james sarah emma jack lucy sam ann kate mark london paris york america american english french german china chinese
"""


def word_pieces() -> list[str]:
    """The vocabulary in the order of ids: BERT's special tokens with [PAD] at 0; punctuation, digits and letters;
    digits, letters and suffixes as continuations; words."""
    characters = [*string.punctuation, *string.digits, *string.ascii_lowercase]
    continuations = [*string.digits, *string.ascii_lowercase, *SUFFIXES.split()]
    pieces = [*SPECIAL, *characters, *(f"##{piece}" for piece in continuations), *WORDS.split()]
    return list(dict.fromkeys(pieces))
