from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

model = BertForSequenceClassification(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
trainer = Trainer(model, TrainingArguments(output_dir="trainer", weight_decay=0.01, report_to=[]))
decayed, spared = trainer.create_optimizer().param_groups
print(type(trainer.optimizer).__name__, decayed["weight_decay"], spared["weight_decay"], decayed["eps"])
names = {id(p): name for name, p in model.named_parameters()}
assert all("bias" in names[id(p)] or "LayerNorm" in names[id(p)] for p in spared["params"])
