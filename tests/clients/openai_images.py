"""The official OpenAI client against an OpenAI Images upstream: argv is its base URL, and its /admin page.

Run by tests/clients/main.rs. It prints one line for each thing that it saw to be right, and fails at the first that is
not.
"""

import base64

import openai
from upstream import BASE_URL, behave, png, size_of


def raises(kind, **behaviour):
    before = behave(**behaviour)["hits"]
    try:
        client.images.generate(model="gpt-image-1.5", prompt="a fox", size="1024x1024")
    except kind as error:
        assert behave()["hits"] == before + 1, "it asked more than once"
        return error
    raise AssertionError(f"{behaviour} raised nothing")


client = openai.OpenAI(base_url=BASE_URL, api_key="sk-test", max_retries=0, timeout=5)

behave()
answer = client.images.generate(model="gpt-image-1.5", prompt="a fox", n=2, size="1536x1024", quality="low")
assert len(answer.data) == 2 and answer.data[0].b64_json != answer.data[1].b64_json
assert size_of(base64.b64decode(answer.data[0].b64_json)) == (1536, 1024)
assert answer.size == "1536x1024" and answer.quality == "low" and answer.output_format == "png"
assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
assert answer.usage.input_tokens_details.text_tokens > 0
print("ok: two pictures, their size and their usage")

linked = client.images.generate(model="dall-e-2", prompt="a fox", size="256x256")
assert linked.data[0].url.startswith("http://127.0.0.1:") and linked.data[0].b64_json is None
print("ok: an address where the model gives addresses")

assert "gpt-image-1.5" in [model.id for model in client.models.list()]
print("ok: the list of models")

limited = raises(openai.RateLimitError, fault="rate-limit:12")
assert limited.code == "rate_limit_exceeded" and limited.response.headers["retry-after"] == "12"
assert raises(openai.RateLimitError, fault="quota").code == "insufficient_quota"
assert raises(openai.AuthenticationError, fault="status:401").code == "invalid_api_key"
assert raises(openai.BadRequestError, fault="refused").code == "moderation_blocked"
assert raises(openai.NotFoundError, fault="status:404").code == "model_not_found"
raises(openai.PermissionDeniedError, fault="status:403")
raises(openai.InternalServerError, fault="status:503")
raises(openai.APIConnectionError, fault="reset")
print("ok: errors are the exceptions that they are named after")

try:
    client.images.generate(model="gpt-image-1.5", prompt="a fox", response_format="b64_json")
    raise AssertionError("response_format was taken")
except openai.BadRequestError as error:
    assert error.code == "unknown_parameter" and error.param == "response_format", error
print("ok: GPT Image refuses response_format")

behave(fault="status:500", times=1)
assert client.with_options(max_retries=1).images.generate(model="gpt-image-1.5", prompt="a fox").data
print("ok: a retry of the client's own gets its picture")

photo, mask = ("photo.png", png(96, 64)), ("mask.png", png(96, 64, alpha=True))
edited = client.images.edit(model="gpt-image-1.5", image=[photo, ("hat.png", png(8, 8))], mask=mask, prompt="a hat",
                            size="1024x1536", input_fidelity="high")
assert size_of(base64.b64decode(edited.data[0].b64_json)) == (1024, 1536)
assert edited.usage.input_tokens_details.image_tokens > 0
print("ok: two pictures and a mask are changed into one")

try:
    client.images.edit(model="gpt-image-1.5", image=photo, mask=("mask.png", png(8, 8, alpha=True)), prompt="a hat")
    raise AssertionError("a mask of another size was taken")
except openai.BadRequestError as error:
    assert error.param == "mask", error
print("ok: a mask of another size is refused")

kinds = []
with client.images.generate(model="gpt-image-1.5", prompt="a fox", stream=True, partial_images=2) as events:
    for event in events:
        kinds.append(event.type.removeprefix("image_generation."))
        assert size_of(base64.b64decode(event.b64_json)) == (1024, 1024)
assert kinds == ["partial_image", "partial_image", "completed"], kinds
behave(fault="error-in-200", times=1)
try:
    list(client.images.edit(model="gpt-image-1.5", image=photo, prompt="a hat", stream=True))
    raise AssertionError("the error in the stream raised nothing")
except openai.APIError as error:
    assert "server had an error" in str(error), error
print("ok: events of a stream, and an error among them")
