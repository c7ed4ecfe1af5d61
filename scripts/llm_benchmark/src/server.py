"""A small LLM inference API to benchmark: FastAPI, batching by time, and a real response cache.

    uvicorn src.server:app --port 8000

POST /generate answers {"text", "cached"} in one piece, /generate_stream as server-sent events and /generate_lines as
JSON lines. The "model" repeats words after a delay per answer and per token. A response is cached under its prompt,
length and temperature; equal requests that arrive while the first is still being answered wait for it and are hits.

Environment: FIRST_TOKEN_S (0.05), PER_TOKEN_S (0.0005), CACHE_SIZE (1024).
"""

import asyncio
import json
import os
from collections import OrderedDict

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

FIRST_TOKEN_S = float(os.environ.get("FIRST_TOKEN_S", "0.05"))
PER_TOKEN_S = float(os.environ.get("PER_TOKEN_S", "0.0005"))
CACHE_SIZE = int(os.environ.get("CACHE_SIZE", "1024"))

WORDS = "the model reads a prompt and writes one token after another until it has said enough about".split()

app = FastAPI()


class GenerateRequest(BaseModel):
    prompt: str
    max_tokens: int = Field(100, ge=1, le=100_000)
    temperature: float = 0.0


class ResponseCache:
    """Answers by request, the least recently used one leaves first."""

    def __init__(self, size):
        self.size = size
        self.futures = OrderedDict()

    def key(self, request):
        return request.prompt, request.max_tokens, request.temperature

    def find(self, request):
        """The answer's future, which may still be under way; None if nobody has asked yet."""
        future = self.futures.get(self.key(request))
        if future is not None:
            self.futures.move_to_end(self.key(request))
        return future

    def begin(self, request):
        future = asyncio.get_running_loop().create_future()
        self.futures[self.key(request)] = future
        while len(self.futures) > self.size:
            self.futures.popitem(last=False)
        return future

    def forget(self, request):
        self.futures.pop(self.key(request), None)


cache = ResponseCache(CACHE_SIZE)


async def tokens(request):
    """One token after another, as a model makes them."""
    await asyncio.sleep(FIRST_TOKEN_S)
    start = sum(request.prompt.encode())
    for n in range(request.max_tokens):
        if n:
            await asyncio.sleep(PER_TOKEN_S)
        yield WORDS[(start + n) % len(WORDS)] + " "


async def parts(request):
    """The answer as parts of {"text", "cached"}; a cached one is a single part."""
    known = cache.find(request)
    if known is not None:
        yield {"text": await asyncio.shield(known), "cached": True}
        return
    future = cache.begin(request)
    text = ""
    try:
        async for token in tokens(request):
            text += token
            yield {"text": token, "cached": False}
    except BaseException:
        # The client left in the middle: whoever waits for this answer must not wait for ever.
        cache.forget(request)
        future.cancel()
        raise
    future.set_result(text)


@app.post("/generate")
async def generate(request: GenerateRequest):
    answer = {"text": "", "cached": False}
    async for part in parts(request):
        answer = {"text": answer["text"] + part["text"], "cached": part["cached"]}
    return answer


@app.post("/generate_stream")
async def generate_stream(request: GenerateRequest):
    async def events():
        async for part in parts(request):
            yield f"data: {json.dumps(part)}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.post("/generate_lines")
async def generate_lines(request: GenerateRequest):
    async def lines():
        async for part in parts(request):
            yield json.dumps(part) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
