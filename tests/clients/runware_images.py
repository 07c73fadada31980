"""Runware's client over REST and over its WebSocket: argv is the base URL of both, and the /admin page. See
openai_images.py."""

import asyncio
import base64

from runware import Runware, RunwareError
from upstream import BASE_URL, behave, fetch, png, size_of

TASK = {"taskType": "imageInference", "model": "runware:100@1", "positivePrompt": "a fox", "width": 192, "height": 128,
        "outputFormat": "PNG"}
PHOTO = "data:image/png;base64," + base64.b64encode(png(64, 64)).decode()


async def fails(client, code, task=TASK, **behaviour):
    behave(**behaviour)
    try:
        await client.run(task)
    except RunwareError as error:
        assert error.code == code, (error, code)
        return error
    finally:
        behave()
    raise AssertionError(f"{task} {behaviour} raised nothing")


async def check(name, **options):
    async with Runware(api_key="k", max_retries=0, **options) as client:
        later = await client.run({**TASK, "numberResults": 2, "seed": 7, "includeCost": True})
        assert [item["seed"] for item in later] == [7, 8] and later[0]["cost"] > 0, later
        assert size_of(fetch(later[0]["imageURL"])) == (192, 128)
        print(f"ok: {name}: two pictures that come later")

        sync = {**TASK, "deliveryMethod": "sync", "outputType": "base64Data"}
        (now,) = await client.run(sync)
        assert size_of(base64.b64decode(now["imageBase64Data"])) == (192, 128)
        print(f"ok: {name}: a picture at once")

        (changed,) = await client.run({**sync, "seedImage": PHOTO, "maskImage": PHOTO, "strength": 0.6})
        assert changed["imageBase64Data"] != now["imageBase64Data"]
        print(f"ok: {name}: a picture from a picture")

        wrong = await fails(client, "validation", {**sync, "width": 100})
        assert wrong.parameter == "width", wrong
        await fails(client, "validation", {**TASK, "cfg": 1})
        await fails(client, "quota", fault="quota", times=1)
        await fails(client, "safety", fault="refused", times=1)
        await fails(client, "safety", sync, fault="refused:1", times=1)
        await fails(client, "notFound", fault="unknown-model", times=1)
        print(f"ok: {name}: errors are of the kind that they are named after")

    behave(key="right")
    try:
        async with Runware(api_key="wrong", max_retries=0, **options) as client:
            await client.run(TASK)
        raise AssertionError("a wrong key was taken")
    except RunwareError as error:
        assert error.code == "auth", error
    behave()
    print(f"ok: {name}: a wrong key is refused")


asyncio.run(check("REST", transport="rest", http_base_url=BASE_URL))
asyncio.run(check("WebSocket", ws_base_url=BASE_URL.replace("http", "ws", 1)))
