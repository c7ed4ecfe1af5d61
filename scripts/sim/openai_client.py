"""Talks to kv_cache_sim with the stock OpenAI client and checks what comes back.

Usage: openai_client.py PROGRAM   (kv_cache_sim; each part starts its own, on a free port)

Everything is asserted; the first failure ends the script with 1 and a traceback.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

import httpx
import openai

MODEL = "kv-cache-sim"
HELLO = [{"role": "user", "content": "Hello there, tell me a story."}]
LONG = [{"role": "user", "content": "The river runs past the old mill. " * 100}]


@contextlib.contextmanager
def serving(program, *options, client_options=None):
    """A server with these options, and a client of it that never retries."""
    command = [program, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            line = server.stdout.readline()
            assert line.startswith("kv_cache_sim listening on http"), f"it said {line!r}"
            url = line.split()[-1]
            settings = {"api_key": "secret", "max_retries": 0, "timeout": 30, **(client_options or {})}
            with openai.OpenAI(base_url=f"{url}/v1", **settings) as client:
                yield client
        finally:
            server.terminate()


def chat(client, messages=HELLO, **options):
    return client.chat.completions.create(model=MODEL, messages=messages, **{"max_tokens": 8, **options})


def raised(kind, call):
    """The error that `call` raises, which must be of exactly this class."""
    try:
        call()
    except openai.OpenAIError as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def models(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "kv_cache_sim"
    raised(openai.NotFoundError, lambda: client.models.retrieve("nobody"))


def whole_answers(client):
    answer = chat(client, messages=LONG)
    choice = answer.choices[0]
    assert choice.finish_reason == "length" and choice.message.role == "assistant"
    assert len(choice.message.content.split()) == 8
    usage = answer.usage
    assert usage.completion_tokens == 8 and usage.total_tokens == usage.prompt_tokens + 8
    assert usage.prompt_tokens_details.cached_tokens == 0
    again = chat(client, messages=LONG)
    assert again.usage.prompt_tokens_details.cached_tokens == (usage.prompt_tokens - 1) // 16 * 16
    assert again.choices[0].message.content == choice.message.content
    text = client.completions.create(model=MODEL, prompt=[5, 6, 7], max_tokens=3)
    assert text.usage.prompt_tokens == 3 and len(text.choices[0].text.split()) == 3


def streams(client):
    whole = chat(client, max_tokens=12)
    chunks = list(chat(client, max_tokens=12, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content and len(texts) == 13
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 13
    assert not chunks[-1].choices and chunks[-1].usage.completion_tokens == 12
    assert chunks[-2].choices[0].finish_reason == "length"
    assert len({chunk.id for chunk in chunks}) == 1
    silent = list(chat(client, stream=True))
    assert all(chunk.usage is None for chunk in silent)
    events = client.completions.create(model=MODEL, prompt="Hello", max_tokens=5, stream=True)
    assert len([event.choices[0].text for event in events]) == 5


def refusals(client):
    error = raised(openai.BadRequestError, lambda: chat(client, n=2))
    assert error.param == "n" and error.status_code == 400 and error.type == "BadRequestError"
    error = raised(openai.BadRequestError, lambda: chat(client, max_tokens=2_000_000))
    assert "maximum context length" in error.message
    raised(openai.BadRequestError, lambda: chat(client, max_tokens=0))
    raised(openai.NotFoundError, lambda: chat(client, extra_body={"model": "nobody"}))
    answer = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_tokens=2, stop=["x"]
    )
    assert "stop is ignored" in answer.headers["warning"]


def forms(program):
    with serving(program, "--stream-form", "reasoning-content=3", "--stream-form", "comments=0.001",
                 "--stream-form", "crlf") as client:
        deltas = [chunk.choices[0].delta for chunk in chat(client, stream=True) if chunk.choices]
        thought = [delta.reasoning_content for delta in deltas if hasattr(delta, "reasoning_content")]
        assert len(thought) == 3 and len([delta for delta in deltas if delta.content]) == 5
        answer = chat(client)
        assert answer.choices[0].message.reasoning_content == "".join(thought)
        assert answer.usage.completion_tokens_details.reasoning_tokens == 3
    with serving(program, "--stream-form", "tool-call", "--stream-form", "split-utf8") as client:
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        calls = [
            call
            for chunk in chat(client, stream=True, tools=tools)
            if chunk.choices
            for call in chunk.choices[0].delta.tool_calls or []
        ]
        assert calls[0].function.name == "weather" and calls[0].id
        arguments = json.loads("".join(call.function.arguments for call in calls))
        assert len(arguments["words"].split()) == 8
        message = chat(client, tools=tools).choices[0]
        assert message.finish_reason == "tool_calls" and message.message.content is None


def faults(program):
    for fault, kind in [
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("reset", openai.APIConnectionError),
        ("close", openai.APIConnectionError),
    ]:
        with serving(program, "--fault", f"{fault}:times=1") as client:
            error = raised(kind, lambda: chat(client))
            if fault.isdigit():
                assert error.status_code == int(fault) and error.request_id is None
                assert error.type == error.body["type"] and "asked for" in error.message
            chat(client)
    with serving(program, "--fault", "error-event:tokens=2") as client:
        stream = chat(client, stream=True)
        error = raised(openai.APIError, lambda: list(stream))
        assert "on purpose" in error.message
    with serving(program, "--fault", "hang", client_options={"timeout": 0.2}) as client:
        raised(openai.APITimeoutError, lambda: chat(client))
    # The client waits as long as Retry-After says, and then it works.
    with serving(program, "--fault", "429:seconds=1:times=1", client_options={"max_retries": 1}) as client:
        assert chat(client).usage.completion_tokens == 8


def keys_and_tls(program):
    with serving(program, "--api-key", "right") as client:
        error = raised(openai.AuthenticationError, lambda: chat(client))
        assert "key" in error.message
        chat(client.with_options(api_key="right"))
    with tempfile.TemporaryDirectory() as directory:
        certificate = str(pathlib.Path(directory) / "cert.pem")
        with serving(program, "--tls", "--tls-cert", certificate) as client:
            raised(openai.APIConnectionError, client.models.list)
            trusting = client.with_options(http_client=httpx.Client(verify=certificate))
            assert len(list(chat(trusting, stream=True))) == 9


def main():
    (program,) = sys.argv[1:]
    with serving(program) as client:
        for part in (models, whole_answers, streams, refusals):
            part(client)
            print(f"openai {openai.__version__}: {part.__name__} as expected")
    for part in (forms, faults, keys_and_tls):
        part(program)
        print(f"openai {openai.__version__}: {part.__name__} as expected")


if __name__ == "__main__":
    main()
