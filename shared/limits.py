"""Limits on what is read and asked for. Each is far above what a fine-tuning of BERT needs, and small enough that what
follows from it fits into a common machine's memory and time."""

from __future__ import annotations

MESSAGE = 300
"""Characters of a message. The middle of a longer one is left out."""

SMALL_FILE = 2**26
"""Bytes of a configuration, a vocabulary, a tokenizer or a recipe. As Python's objects they take some ten times that;
the vocabulary of a multilingual BERT has 2 million bytes, its tokenizer.json 9 million."""

TOML = 2**20
"""Characters of a TOML file, which Python reads a thousand times more slowly than JSON."""

TOML_LINE = 2**14
"""Characters of a line of it; the time for a name of many parts grows with their square."""

HEADER = 2**25
"""Bytes of the header of a safetensors file; a tensor takes a hundred."""

ROWS_FILE = 2**30
"""Bytes of a file of rows that is read whole: those of GLUE's and texts to predict. The largest, MNLI's, has a third of
that. Own data is read in pieces, and may be larger."""

TEXT = 2**20
"""Characters of a text. A model reads the first few thousand, and a tokenizer takes hundreds of bytes for each word."""

LINE = 2**26
"""Characters of a line, which is kept in memory whole. An array of JSON may be one."""

LABELS = 1000
"""Labels of a task or of a head. A confusion matrix has the square of that many numbers."""

LAYERS = 1000
"""Layers of a network; sixteen tensors each."""

POSITIONS = 2**20
"""Positions of a network, and tokens of a row."""

VOCABULARY = 2**23
"""Pieces of a vocabulary; the largest in use have a million."""

WIDTH = 2**16
"""Width of a network, of its feed-forward, and number of its heads."""

PARAMETERS = 2**36
"""Parameters of a network, 256 GiB in float32."""

TOKENIZER_PARTS = 1000
"""Parts of a tokenizer.json besides its vocabulary, its merges and its added tokens, which run one after the other.
BERT's has four."""

ADDED_TOKENS = 20_000
"""Tokens that are added to a tokenizer, or special to it. Each is compared with the others."""

STEPS = 10**7
"""Steps of a training. Loss and accuracy of each are kept."""

COUNT = 10**9
"""Rows, steps, passes or seeds asked for; what counts them has at least 32 bits."""

PICTURED_LABELS = 30
"""Labels of a confusion matrix that is drawn; more cannot be read, and take a gigabyte."""

PICTURES = 12
"""Comparisons that a report draws, up to four pictures each, a second or two for each picture."""

PRINTED_ROWS = 100
"""Rows of a table of records on the terminal; its file has all."""

COMPARED_LABELS = 200
"""Labels whose predictions by two variants are counted together: the cube of that many numbers."""
