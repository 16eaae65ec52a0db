"""Words of an environment's name for tox.ini.

test-keras-jax-py313 runs the tests of `backend` keras-jax in the environment `tested` keras-jax-py313, which is made of
`lock` keras-jax, a file in requirements/. In torch-cuda, `backend` is torch, and `tested` and `lock` are torch-cuda.
"""

from __future__ import annotations

import re

from tox.config.sets import EnvConfigSet
from tox.plugin import impl
from tox.session.state import State

NAME = re.compile(r"(test-)?(?P<tested>(?P<lock>(?P<backend>.+?)(-cuda)?)(-py\d+)?)")


@impl
def tox_add_env_config(env_conf: EnvConfigSet, state: State) -> None:
    """Define the three words for one environment."""
    words = NAME.fullmatch(env_conf.name)
    assert words, "an environment has a name"
    for word, value in words.groupdict().items():
        env_conf.add_constant(word, f"{word}, taken from the environment's name", value)
