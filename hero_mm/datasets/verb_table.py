"""Verbs of everyday actions, those that may be said of the same in a row."""

# Kind, verbs that may be put in, and others that may be said of the same
# action. A verb is of the kind of the row where it may be put in, else of its
# first one. Kinds: go somewhere, be in a posture or a mood, say something to
# or look at somebody, do something to something.
ROWS: tuple[tuple[str, str, str], ...] = (
    # What goes along with anything else.
    (
        'go',
        '',
        'walk go come move step approach pace stroll wander enter leave exit '
        'return arrive pass cross start stop march follow lead appear',
    ),
    ('go', '', 'turn rotate spin face'),
    ('be', '', 'stand sit rise get stay wait remain straighten lean hang lie'),
    ('say', '', 'look stare glance gaze see watch glare peek peer face'),
    (
        'say',
        '',
        'talk speak say tell chat answer reply ask whisper listen explain '
        'shout yell scream call greet communicate',
    ),
    ('say', '', 'point nod wave beckon gesture salute smile bow'),
    ('be', '', 'cry laugh smile weep sob grin yell shout scream sigh'),
    (
        'do',
        '',
        'take put hold pick place set grab give hand pass bring get carry '
        'remove receive seize reach stretch raise lower lift wear use show '
        'drop pull move help support check press pour fill stir shake',
    ),
    ('do', '', 'open close shut lock'),
    # A car that drives is said to run, to move, to roll; a lizard to walk.
    (
        'go',
        'run rush',
        'dash jog sprint hurry race chase ride drive cycle pedal sail walk '
        'move go come pass',
    ),
    ('go', 'jump', 'leap hop skip bounce fly'),
    ('go', 'crawl', 'climb creep lie walk move'),
    (
        'go',
        'roll slide',
        'tumble fall collapse stumble slip trip lie move run drive ride',
    ),
    ('go', 'swim dive', 'float jump move sail'),
    ('go', 'fly', 'soar glide land jump move go come pass run drive rush'),
    ('be', 'kneel squat bow', 'crouch bend stoop sleep lie fall sit get lean'),
    ('be', 'dance', 'sing play perform spin jump'),
    ('be', 'clap', 'applaud wave'),
    (
        'do',
        'kiss hug',
        'embrace cuddle touch caress stroke pat rub hold carry comfort '
        'scratch lean',
    ),
    (
        'do',
        'kick hit push',
        'punch slap beat fight attack strike knock shove poke wrestle play '
        'open close move press',
    ),
    (
        'do',
        'bite lick',
        'eat drink chew feed taste smoke swallow sip kiss play fight',
    ),
    ('do', 'throw', 'toss drop fling hurl catch put place set give'),
    ('do', 'cut tear', 'break rip snap slice chop open'),
    ('do', 'wash wipe', 'clean brush sweep scrub mop polish rub dry touch'),
    (
        'do',
        'drag pull',
        'tow tug carry lift push take hold grab open close raise bring lead',
    ),
    ('do', 'chase', 'follow hunt pursue run play'),
    ('do', 'read write', 'sign draw type look see watch study open hold'),
    ('do', 'shoot', 'aim point raise'),
)
