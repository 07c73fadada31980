"""Google's client against a Gemini upstream: argv is its base URL, and its /admin page. See openai_images.py."""

import google.genai
from google.genai import errors, types
from upstream import BASE_URL, behave, png, size_of

# The client appends the version by itself.
client = google.genai.Client(api_key="k", http_options=types.HttpOptions(base_url=BASE_URL.removesuffix("/v1beta")))
FIRST = "gemini-2.5-flash-image"


def pictures(answer):
    return [part.inline_data for part in answer.candidates[0].content.parts if part.inline_data and not part.thought]


def ask(contents, model=FIRST, **image):
    config = types.GenerateContentConfig(response_modalities=["IMAGE"], image_config=types.ImageConfig(**image))
    return client.models.generate_content(model=model, contents=contents, config=config)


answer = ask("a paper boat", aspect_ratio="16:9")
(boat,) = pictures(answer)
assert boat.mime_type == "image/png" and size_of(boat.data) == (1344, 768)
assert answer.usage_metadata.candidates_token_count == 1290
assert answer.candidates[0].finish_reason == types.FinishReason.STOP
print("ok: a picture, its size and its usage")

photo = types.Part.from_bytes(data=png(64, 96), mime_type="image/png")
(edited,) = pictures(ask(["turn the wall green", photo]))
assert size_of(edited.data) == (832, 1248)
print("ok: a picture is changed, and keeps its ratio")

behave(shape=2)
(final,) = pictures(ask("a boat", model="gemini-3-pro-image", image_size="2K"))
assert final.mime_type == "image/jpeg"
behave()
print("ok: thoughts are told from the answer")

config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
chunks = list(client.models.generate_content_stream(model=FIRST, contents="a boat", config=config))
assert sum(len(pictures(chunk)) for chunk in chunks if chunk.candidates[0].content) == 1
print("ok: a stream")

behave(fault="refused:0", times=1)
assert ask("a boat").prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
behave(fault="refused:7", times=1)
withheld = ask("a boat").candidates[0]
assert withheld.finish_reason == types.FinishReason.IMAGE_SAFETY, withheld
print("ok: refusals")


def raises(kind, **behaviour):
    behave(**behaviour)
    try:
        ask("a boat")
    except kind as error:
        return error
    finally:
        behave()
    raise AssertionError(f"{behaviour} raised nothing")


assert raises(errors.ClientError, fault="invalid-key").details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
limited = raises(errors.ClientError, fault="rate-limit:31")
assert (limited.code, limited.status) == (429, "RESOURCE_EXHAUSTED")
assert limited.details["error"]["details"][1]["retryDelay"] == "31s"
assert raises(errors.ClientError, fault="unknown-model").status == "NOT_FOUND"
assert raises(errors.ServerError, fault="status:503", shape=1).status == "UNAVAILABLE"
print("ok: errors are the exceptions that they are named after")
