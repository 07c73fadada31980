"""Runware's older client, over the WebSocket that is its only way: argv is the base URL, and the /admin page. See
openai_images.py."""

import asyncio
import base64

from runware import IImageInference, Runware, RunwareAPIError
from upstream import BASE_URL, fetch, png, size_of

PHOTO = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()


async def main():
    client = Runware(api_key="k", url=BASE_URL.replace("http", "ws", 1))
    await client.connect()
    task = {"model": "runware:100@1", "positivePrompt": "a fox", "width": 192, "height": 128, "outputFormat": "PNG"}
    two = await client.imageInference(requestImage=IImageInference(**task, numberResults=2))
    assert len(two) == 2 and size_of(fetch(two[0].imageURL)) == (192, 128)
    print("ok: two pictures")
    (changed,) = await client.imageInference(requestImage=IImageInference(**task, seedImage=PHOTO, strength=0.6))
    assert fetch(changed.imageURL) != fetch(two[0].imageURL)
    print("ok: a picture from a picture")
    try:
        await client.imageInference(requestImage=IImageInference(**{**task, "width": 100}))
        raise AssertionError("a wrong width was taken")
    except RunwareAPIError as error:
        assert "invalidWidth" in str(error), error
    print("ok: a wrong width is refused")
    await client.disconnect()


asyncio.run(main())
