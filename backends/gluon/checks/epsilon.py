import gluonnlp as nlp
from mxnet.gluon.nn import LayerNorm

vocabulary = nlp.vocab.BERTVocab(nlp.data.count_tokens(["a"]))
network, _ = nlp.model.get_model("distilbert_6_768_12", dataset_name=None, vocab=vocabulary, pretrained=False)
found = set()
network.apply(lambda block: found.add(block._epsilon) if isinstance(block, LayerNorm) else None)
print(found)  # HuggingFace's DistilBERT has 1e-12
assert found == {1e-5}
