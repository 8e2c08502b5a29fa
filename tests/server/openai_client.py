"""`watersic serve` through PyPI's openai. openai_client.py BASE_URL"""
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
name = client.models.list().data[0].id
ask = {"model": name, "prompt": "It was a dark", "max_tokens": 24, "seed": 3, "temperature": 0.7}
whole = client.completions.create(**ask, logprobs=2)
text = whole.choices[0].text
assert text and whole.usage.completion_tokens <= 24 and len(whole.choices[0].logprobs.tokens) > 0
assert client.completions.create(**ask).choices[0].text == text
streamed = "".join(part.choices[0].text for part in client.completions.create(**ask, stream=True))
assert streamed == text, (streamed, text)
two = client.completions.create(**ask, n=2).choices
assert two[0].text == text and two[1].text != text
stopped = client.completions.create(**ask, stop=[text[5:8]]).choices[0]
assert stopped.text == text[:text.index(text[5:8])] and stopped.finish_reason == "stop"
try:
    client.completions.create(model="another", prompt="a")
    raise AssertionError("a model that is not there was found")
except openai.NotFoundError as e:
    assert e.code == "model_not_found", e
try:
    client.completions.create(**{**ask, "max_tokens": 10**6})
    raise AssertionError("more than the context was granted")
except openai.BadRequestError as e:
    assert e.code == "context_length_exceeded", e
try:
    chat = client.chat.completions.create(model=name, max_tokens=24, seed=3,
                                          messages=[{"role": "user", "content": "Who are you?"}])
    pieces = client.chat.completions.create(model=name, max_tokens=24, seed=3, stream=True,
                                            stream_options={"include_usage": True},
                                            messages=[{"role": "user", "content": "Who are you?"}])
    said = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    assert said == chat.choices[0].message.content, (said, chat)
    talked = f"a chat: {said!r}"
except openai.BadRequestError as e:
    talked = f"no chat: {e.message}"
print(f"openai {openai.__version__} (Python): {text!r}; {talked}")
