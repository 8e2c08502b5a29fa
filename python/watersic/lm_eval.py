"""For EleutherAI's lm-evaluation-harness: the model type "watersic".

    python -m watersic.lm_eval --model watersic --model_args path=model.wsic --tasks hellaswag

takes all that `lm_eval` takes, whose own command knows no models of other packages. In a program
import this module before lm_eval.simple_evaluate(model="watersic", model_args=...).

model_args: path, a .wsic file, a checkpoint's folder or a GGUF file; weights ("packed", "exact",
"float32"), threads, max_length (tokens, the model's context), max_gen_toks (256).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ._model import load

_log = logging.getLogger(__name__)

_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_SAMPLING = ("top_k", "top_p", "min_p")


@register_model("watersic")
class WatersicLM(TemplateLM):
    """A model that watersic opens. What requests begin with alike is computed once."""

    def __init__(
        self,
        path: str,
        weights: str = "packed",
        threads: int = 0,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        device: str | None = None,  # the harness names one where nobody asked
        batch_size: Any = None,  # how many go together is the model's to say
        max_batch_size: Any = None,
    ) -> None:
        super().__init__()
        if device not in (None, "cpu"):
            _log.info("watersic runs on the CPU; device=%s is not used", device)
        self.model = load(str(path), weights=weights, threads=int(threads))
        self.max_length = int(max_length or self.model.context)
        if not 1 <= self.max_length <= self.model.context:
            raise ValueError(
                f"max_length: expected 1 to {self.model.context}, the model's context, "
                f"found {max_length}"
            )
        self.max_gen_toks = int(max_gen_toks)
        first = self.model.first_token
        self._first_text = "" if first is None else self.model.detokenize([first])

    @property
    def eot_token_id(self) -> int:
        return self.model.ends[0] if self.model.ends else self.prefix_token_id

    @property
    def prefix_token_id(self) -> int:
        if self.model.first_token is None:
            raise ValueError(f"{self.model.name}: the model names no token to begin a text with")
        return self.model.first_token

    @property
    def tokenizer_name(self) -> str:
        return self.model.name.replace("/", "__")

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        if add_special_tokens is None:  # a chat template has put BOS there
            add_special_tokens = not (self._first_text and string.startswith(self._first_text))
        return self.model.tokenize(string, special=add_special_tokens)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        messages = [{"role": m["role"], "content": m["content"]} for m in chat_history]
        return self.model.chat_text(messages, open=add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        if not chat_template:
            return None
        config = json.loads(self.model.text("tokenizer_config.json") or "{}")
        return self.model.text("chat_template.jinja") or str(config.get("chat_template"))

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        """Of what follows given what stands before it, cut at its beginning where it is too long."""
        answers: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
        sequences = []
        for i, (before, after) in enumerate(pairs):
            if after:
                ids = (before + after)[-(self.max_length + 1) :]
                sequences.append((ids, len(ids) - len(after), i))
        sequences.sort(key=lambda sequence: sequence[0])  # neighbours share what they begin with
        scores = self.model.score([(ids, first) for ids, first, _ in sequences])
        for (_, _, i), (log_p, likeliest) in zip(sequences, scores):
            answers[i] = (float(log_p.sum()), all(likeliest))
        return answers

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        answers = self._score([(before, after) for _, before, after in requests])
        for (texts, _, _), answer in zip(requests, answers):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        sums = []
        for (text,) in (request.args for request in requests):
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            sums.append(
                sum(score for score, _ in self._score(list(map(make_disjoint_window, windows))))
            )
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), sums[-1])
        return sums

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        texts = []
        for context, options in (request.args for request in requests):
            texts.append(self._generate(context, dict(options)))
            self.cache_hook.add_partial("generate_until", (context, options), texts[-1])
        return texts

    def _generate(self, context: str, options: dict[str, Any]) -> str:
        until = options.pop("until", None) or []
        tokens = [options.pop(name) for name in _TOKENS if name in options]
        most = int(next((count for count in tokens if count is not None), self.max_gen_toks))
        temperature = options.pop("temperature", None)
        if not options.pop("do_sample", bool(temperature)):
            temperature = 0
        sampling = {name: options.pop(name) for name in _SAMPLING if name in options}
        if options:
            raise ValueError(f"generation_kwargs: expected none of {', '.join(options)}")
        if most >= self.max_length:
            raise ValueError(
                f"max_gen_toks: expected less than {self.max_length}, the model's context, "
                f"found {most}"
            )
        return self.model.generate(
            self.tok_encode(context)[-(self.max_length - most) :],
            most,
            temperature=temperature,
            stop=[until] if isinstance(until, str) else [stop for stop in until if stop],
            **sampling,
        )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
