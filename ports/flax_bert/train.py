"""Fine-tunes BERT with FlaxBert of transformers 4.57.6 on JAX 0.10.2, with the optimizer of its run_flax_glue.py, and
records each step: tox run -e ports -- flax_bert"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from concord_recorder import Pack, Recorder
from flax import traverse_util
from transformers import BertConfig, FlaxBertForSequenceClassification, FlaxBertModel
from transformers.modeling_flax_pytorch_utils import convert_pytorch_state_dict_to_flax


def decayed(params):
    """True for what decays, as run_flax_glue.py has it."""
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({path: path[-1] not in ("bias", "scale") for path in flat})


pack, record = Pack(), Recorder()
for run in pack.runs:
    s = run.settings
    dropout = {"hidden_dropout_prob": s.dropout, "attention_probs_dropout_prob": s.dropout}
    config = BertConfig.from_pretrained(pack.folder, **dropout)
    model, encoder = FlaxBertForSequenceClassification(config), FlaxBertModel(config)
    params = convert_pytorch_state_dict_to_flax(run.weights, model)
    rates = jnp.array([step.learning_rate for step in run.steps])
    adamw = optax.adamw(rates.__getitem__, s.beta1, s.beta2, s.eps, weight_decay=s.decay, mask=decayed)
    clip, state = optax.clip_by_global_norm(s.clip), adamw.init(params)

    @partial(jax.value_and_grad, has_aux=True)
    def differentiate(params, inputs, labels, key, model=model):
        logits = model(**inputs, params=params, dropout_rng=key, train=True).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

    record(run, parameters=params)
    for n, step in enumerate(run.steps):
        batch = {name: jnp.array(array) for name, array in step.batch.items()}
        inputs, key = {name: array for name, array in batch.items() if name != "labels"}, jax.random.key(n)
        (loss, logits), gradients = differentiate(params, inputs, batch["labels"], key)
        hidden = encoder(**inputs, params=params["bert"], dropout_rng=key, train=True, output_hidden_states=True)
        record(step, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run.trains:
            clipped, _ = clip.update(gradients, clip.init(params))
            record(step, gradients=gradients, norm=optax.global_norm(gradients), clipped=clipped)
            updates, state = adamw.update(clipped, state, params)
            params = optax.apply_updates(params, updates)
            record(step, parameters=params)
