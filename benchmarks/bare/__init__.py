"""One script a backend that trains BERT as a user of that library alone would, in a page: what `benchmarks.overhead`
holds the adapters against. Nothing here imports the rest of the project.

    python SCRIPT CHECKPOINT BATCHES.npz THREADS ANSWER.json

BATCHES.npz holds `input_ids` and `attention_mask` int32 [steps, b, s], and `labels` int64 [steps, b]. The answer's
seconds are counted from the script's first line; memory is in bytes.
"""
