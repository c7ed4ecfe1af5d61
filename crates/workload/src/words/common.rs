//! Everyday English words: they make the text less monotonous and give nearly every tokenizer plenty of words that
//! are a single token, which the exact fill and the nonce need.
//!
//! Promise: lower-case ASCII words only, separated by white space; own selection, no names, nothing unkind.

/// Everyday words, most of them short.
pub(super) const COMMON: &str = "\
the a an is are was were be been to of in on for it its by not no at he him his us me my do does did has had having hers ours yours mine \
am being doing done goes going gone made makes making came comes coming went seen sees seeing took takes taking gave gives giving held \
holds kept keeps left lets meant means met moved moves moving ran runs running said says set shown shows stood told turns used uses using \
wants works working wrote writes written added adds asked asks built builds calls called caught chose chosen drew drawn felt fell found \
grew grown heard knew known led lost paid sent sold spent taught thought understood won wound \
able above accept access account across act action active actual adapt add admit adult advance advice affair afford afraid afternoon \
again age agency agent ago agree ahead aid aim air airport alarm album alike alive all allow almost alone along alphabet already also \
alter always amazing amount ancient anchor angle animal announce annual answer any anyone anything apart apple apply appoint approach \
april area argue arise arm army arrange arrive arrow art article ask asleep aspect assist assume assure atlas attempt attend attic \
august aunt autumn avenue average aware away awful baby back bacon bad bag bake balance ball balloon bamboo banana band bank bar \
barely bargain bark barn barrel base basic basin basket bath bay beach bead beam bean bear beard beat beautiful beauty become bed \
bedroom bee beef before beg behave behind being belief believe bell belong below belt bench bend benefit berry best bet better bicycle \
big bike bill bind bird birth biscuit bit bite black blade blank blanket blind blink block blossom blow blue board boat body boil bold \
bolt bone bonus book boost boot border borrow boss both bottle bottom bounce bowl box boy brain brake branch brand brass brave bread \
break breakfast breath breeze brick bridge brief bright bring broad bronze brother brown brush bubble bucket build bulb bundle bus \
bush business butter button buy cabin cabinet cable cake calendar call calm camera camp can canal candle candy cannot canoe cap cape \
capital captain car card care career careful cargo carpet carrot carry cart case cash castle cat catch category cattle cause cave \
ceiling celebrate cement center central century ceramic certain chain chair chalk challenge chamber champion chance change channel \
chapter character charge charm chart chase cheap check cheek cheese chef cherry chess chest chicken chief child chimney chin \
chocolate choice choose circle citizen city civil claim class clay clean clear clerk clever cliff climate climb clock close cloth \
clothes cloud club clue coach coal coast coat coconut coffee coin cold collar collect college color comb combine come comfort comic \
common community company compass complete computer concern concert condition confirm connect consider constant consult contact \
contain content contest continue control cook cool copper copy coral core corn corner correct cost cottage cotton couch could council \
count country couple courage course court cousin cover cow crab craft crane cream creature credit creek crew cricket crisp crop cross \
crowd crown cruise crystal cube culture cup cupboard curious current curtain curve cushion custom customer cut daily dairy damage damp \
dance dare dark date daughter dawn day deal dear debate decade december decide deck declare deep deer degree delay delicate delight \
deliver demand dental depart depend depth desert deserve desk detail develop device diamond diary dictionary differ difference \
different difficult dig digital dinner direct direction discuss dish distance distant district divide dizzy doctor dog doll dolphin \
donkey door dot double doubt dough dove down dozen draft drag dragon drama draw drawer dream dress drift drill drink drive driver drop \
drum dry duck due dull during dust duty each eager eagle ear early earn earth ease east easy eat echo edge edition educate effect \
effort egg eight either elbow elder elect electric elegant element elephant elevator eleven else embrace emerge emotion employ empty \
enable end energy engage engine enjoy enough enter entire entry envelope equal equip era escape essay estate even evening event ever \
every everyone everything evidence exact exam example excellent except exchange excite exercise exist exit expand expect expert \
explain explore express extra eye fabric face fact factor factory fade fair fairly faith fall false fame family famous fancy far farm \
farmer fashion fast father favor favorite feather feature february feed feel fellow fence ferry festival few fiber fiction field \
fifteen fifth fifty fig figure fill film final find fine finger finish fire firm first fish fit five fix flag flat flavor flexible \
flight float flock floor flour flow flower fluid flute fly foam focus fog fold folk follow food foot football force forecast foreign \
forest forever forget fork form formal former fortune forty forward found four fox frame free freedom freeze frequent fresh friday \
friend friendly frog from front frost frozen fruit fuel full fun funny fur furniture further future gain galaxy gallery game gap \
garage garden garlic gas gate gather general gentle genuine geography gesture giant gift ginger giraffe girl give glad glass globe \
glory glove glow glue goal goat gold golden good goose grace grade grain grammar grand grandmother granite grape grass grateful gravel \
gravity gray great green greet grid grocery ground group grow growth guard guess guest guide guitar habit hair half hall hammer hand \
handle happen happy harbor hard hardly harmony harvest hat have hawk hay head heal health hear heart heat heaven heavy hedge height \
hello helmet help hen her herb here heritage hero hidden hide high highway hill hint hip hire history hobby hold hole holiday hollow \
home honest honey honor hope horizon horn horse hospital host hotel hour house how huge human humble humor hundred hungry hurry husband \
ice icon idea ideal identify image imagine impact import impress improve inch include income indoor industry infant inform initial \
inner insect inside insist inspire install instance instant instead instrument intend interest interior interview invent invest invite \
iron island issue item ivory jacket jam january jar jazz jelly jewel job join joke journey joy judge juice july jump june jungle junior \
jury just justice keen keep kettle key kick kid kind king kingdom kiss kitchen kite kitten knee knife knock knot know knowledge lab \
label labor lace ladder lady lake lamb lamp land lane language lantern large last late laugh laundry law lawn lawyer lay layer lazy lead \
leader leaf league lean learn least leather leave lecture left leg legal legend lemon lend length lens lesson let letter level lever \
library license lid life lift light like likely lily limb lime limit line linen lion lip liquid list listen little live lively lizard \
load loaf loan lobby local lock lodge logic lonely long look loop loose lord lose lot loud lounge love lovely low loyal luck lucky \
luggage lunch lung luxury machine magazine magic magnet mail main major make male mall man manage mango manner many map maple marble \
march margin marine mark market marriage mask mass master match mate material math matter maximum may maybe mayor meadow meal mean \
measure meat medal media medical medium meet melody melon melt member memory mention menu merchant mercy mere merit merry message metal \
method middle midnight might mild mile milk mill million mind mine mineral minimum minor mint minute miracle mirror miss mist mix mixture \
mobile model modern modest moment monday money monitor monkey month mood moon moral more morning most mother motion motor mountain mouse \
mouth move movie much mud mug multiply muscle museum mushroom music must mutual mystery myth nail name napkin narrow nation native \
natural nature navy near nearly neat necessary neck need needle neighbor neither nephew nerve nest net never new news newspaper nice \
niece night nine noble nobody nod noise none noodle noon nor normal north nose note nothing notice noun novel november now number nurse \
nut oak oar object observe obtain obvious ocean october odd offer office officer official often oil old olive once one onion only open \
opera opinion oppose orange orbit orchard orchestra order ordinary organ organize origin original other ought ounce our outcome outdoor \
outer outfit outside oven over owl own owner oxygen oyster pace pack package paddle page paint pair palace pale palm pan panda panel \
paper parade parent park parrot part partner party pass passage passenger past pasta paste path patient pattern pause pay peace peach \
peak peanut pear pearl pebble pen pencil penguin people pepper perfect perform perhaps period permit person pet phone photo phrase piano \
pick picnic picture pie piece pig pigeon pile pillow pilot pin pine pink pioneer pipe pitch pizza place plain planet plant plastic plate \
platform play player pleasant please plenty plot plow plum plus pocket poem poet poetry point polar pole police policy polish polite pond \
pony pool poor popular population porch port portion portrait position positive possible post pot potato pottery pound pour powder power \
practice praise pray prefer premium prepare present preserve press pretty price pride primary prince princess print prior prize problem \
process produce product profit program progress project promise proof proper property propose proud prove public pudding pull pulse \
pump pumpkin pupil puppy purchase pure purple purpose purse push put puzzle pyramid quality quantity quarter queen question quick quiet \
quilt quit quite quiz rabbit race radio rail railway rain rainbow raise rally ramp ranch range rank rapid rare rate ratio raw ray reach \
read ready real realize really reason recall receive recent recipe record recover red reflect region regret regular relate relax relief \
rely remain remark remember remind remote rent repair repeat reply report represent rescue research reserve resist resort respect rest \
restaurant result return reveal review reward rhythm ribbon rice rich ride ridge right ring ripe rise river road roast robin robot rock \
rocket role roll roof room root rope rose rough round route row royal rubber ruby rug ruin rule run rural rush rust sad saddle safe sail \
sailor salad salary sale salmon salt same sample sand sandwich satin saturday sauce save say scale scarf scene scent school science scissors \
scope score scout scrap screen screw script sea seal search season seat second secret section see seed seek seem segment seldom select self \
sell senate send senior sense sentence separate september series serious serve service set settle seven several shade shadow shake shall \
shallow shape share sharp she sheep sheet shelf shell shelter shepherd shield shift shine ship shirt shoe shop shore short should \
shoulder shout show shower shy side sight sign signal silent silk silly silver similar simple since sing singer single sink sister sit six \
size skate sketch skill skin skirt sky slate sleep sleeve slice slide slight slim slip slope slow small smart smell smile smoke smooth snack \
snail snake snow soap soccer social sock soft soil solar soldier solid solve some song soon sort soul sound soup source south space spare \
spark speak special speech speed spell spend sphere spice spider spin spirit splash sponge spoon sport spot spray spread spring square \
squirrel stable stadium staff stage stair stamp stand star start state station statue stay steady steak steam steel steep stem step stew \
stick still stir stock stomach stone stool stop store storm story stove straight strange straw strawberry stream street strength stretch \
strike string strip stroke strong student studio study stuff style subject subtle suburb success such sudden sugar suggest suit suitable \
suitcase sum summer summit sun sunday sunny sunrise sunset super supper supply suppose sure surface surprise surround survey swan sweater \
sweep sweet swift swim swing switch sword syrup system table tail tailor take tale talent talk tall tank tape target task taste tax tea \
teach teacher team tear teeth telephone television tell temple ten tend tennis tent term terrace than thank that theater their them theory \
there these they thick thin thing think third thirsty thirteen thirty this thorn those thought thousand thread three throat throne throw \
thumb thunder thursday ticket tide tidy tie tiger tight tile timber time tin tiny tip tire tired title today toe together tomato tomorrow \
ton tone tongue tonight tool tooth top torch tortoise total touch tough tour toward towel tower town toy trace track trade tradition traffic \
trail train tram travel tray treasure treat tree trend trial triangle tribe trick trip tropical trouble trousers truck true trumpet trunk \
trust truth try tub tube tuesday tulip tuna tune tunnel turkey turn turtle twelve twenty twice twin twist two type typical umbrella uncle \
under uniform union unique unit unite universe university until unusual upper upset urban use useful usual vacation valid valley valuable \
value van vanilla vapor various vase vast vegetable vehicle velvet venture verb verse very vessel victory view village vine violet violin \
virtue visible vision visit visitor vital vivid vocal voice volcano volume vote voyage wage wagon waist wait wake walk wall wallet walnut \
wander want warm warmth wash watch water wave wax way weak wealth wear weather weave wedding wednesday week weekend weigh weight welcome \
well west wet whale what wheat wheel where which while whisper whistle white whole whose why wide wife wild will willow win wind window \
windy wing winner winter wire wisdom wise wish witness wolf woman wonder wood wooden wool word work worker workshop world worry worth would \
wrap wreath wrist write writer wrong yard year yellow yes yesterday yield yoga yogurt you young your youth zebra zero zone zoo \
abbey acorn actor acute adobe agile aisle alder algae alley almond alpine amber amuse anthem apron arcade arch arena aroma array aspen \
atom audio aura axis bagel bakery ballet banner barge baron basil beacon beetle bishop bison blaze bloom blouse bluff bonnet booth botany \
braid bramble briar brook broom broth buffet bugle bunny burrow cactus camel canyon caramel caravan cedar cello cereal chapel charcoal \
chime chord cider cinema circus citrus clarinet clover cobalt cocoa comet condor copse cosmic cosy cradle crayon crest crimson crocus cuckoo \
curl curry dahlia daisy dale damson dapper denim dew diner dome drizzle dune easel ebony eclipse elk elm ember emerald fable falcon fawn \
fern fiddle finch fjord flannel flax fleece flint flora foliage fountain foyer freckle fresco fringe frolic gable galley gazelle geyser \
glacier glaze gleam glide glimmer gopher gourd grove gull gust hamlet harp hazel heath heather hemp heron hickory hive holly hoop hummus \
hut hymn igloo indigo inlet iris ivy jade jasmine jigsaw juniper kayak kelp kiosk kiwi koala lagoon larch lark lasso lava lavender lentil \
lilac linden llama lobster locket lotus lullaby lute lynx macaroni magnolia magpie mandolin mantle marigold mariner maroon marsh meteor \
mitten moat molasses moose mosaic moss moth mulberry mural muslin mustard myrtle nectar nutmeg oasis oatmeal oboe ochre octave olive onyx \
opal orchid otter paddock pagoda pansy papaya parasol parchment parsley parsnip pasture pastry patio peacock pelican peony pepper petal \
pewter pheasant pickle pier pigment pinwheel pistachio plateau plaza pollen poppy porcelain prairie primrose prism quail quarry quartz \
quill quince radish raft raisin raspberry raven reed reef relay robe rosemary ruffle saffron sage salsa sapphire satchel savanna scallop \
scarlet scone sequoia sesame shamrock sherbet shrub shuttle sienna sleigh sloth sonata sparrow spinach spruce squash stardust starling \
stencil stork sundial swallow sycamore tadpole tambourine tangerine tapestry tartan teal teapot terrier thicket thimble thistle thrush \
thyme timid toffee topaz totem toucan trellis truffle tundra turnip turquoise tweed twig twilight umber valet veranda vest vineyard vista \
waffle walrus waltz warbler waterfall weasel wharf wicker wigwam willow wisteria woodland woodpecker wren yacht yarn yodel zenith zephyr zest";
