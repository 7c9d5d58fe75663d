"""The Gradio page. It speaks to nobody but its visitors.

Fonts are those of the system, analytics and sharing are off, browsers are
forbidden to load anything from elsewhere, and so is this process.
"""

import ctypes
import hmac
import os
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Optional

from hero_mm.apis.inferencer import TubeInferencer
from hero_mm.apis.inputs import VIDEO_SUFFIXES, list_videos, short_names
from hero_mm.apis.package import SHIPPED
from hero_mm.errors import UserError
from hero_mm.json_reader import read_json
from hero_mm.texts import printable

from .desk import Desk
from .markup import CSS, SCRIPT, escape, label_html

HERE = ('127.0.0.1', 'localhost', '::1')
EXAMPLE = 'example: moving shapes'
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' "
    "blob:; frame-ancestors 'self'; form-action 'self'"
)
MOST_WAITING = 200
M_ARENA_MAX = -8

HEADERS = [
    (b'content-security-policy', POLICY.encode()),
    (b'referrer-policy', b'no-referrer'),
    (b'x-content-type-options', b'nosniff'),
]
_allowed: list[set[str]] = []
"""Hosts that this process may speak to; all, where nothing is served."""


def headers(app: Any) -> Callable[..., Any]:
    """ASGI middleware: browsers load from this server alone."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message['headers'], *HEADERS]
            await send(message)

        await app(scope, receive, with_headers)

    return answer


@cache
def _hook() -> None:
    # An audit hook cannot be removed: one serves all.
    sys.addaudithook(_watch)


def _watch(event: str, args: tuple) -> None:
    host: Any = None
    if event == 'socket.connect' and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == 'socket.getaddrinfo':
        host = args[0]
    if isinstance(host, bytes):
        host = host.decode()
    if _allowed and host is not None and host not in _allowed[-1]:
        raise PermissionError(
            f'{host}: the page makes no request to other machines'
        )


def make_page(desk: Desk, example: str = '') -> Any:
    """The page as ``gradio.Blocks``, not started.

    ``example`` are sentences to begin with.
    """
    import gradio as gr

    take, choose, ask, leave = _events(desk)
    label = desk.inferencer.cfg.get('label') or {}
    names = list(desk.videos)
    with gr.Blocks(
        title='hero_mm', analytics_enabled=False, delete_cache=(600, 14400)
    ) as page:
        gr.HTML(
            '<h2>Find in a video what a sentence speaks of</h2>'
            + label_html(desk.facts(), label)
        )
        with gr.Row():
            with gr.Column():
                upload = gr.File(
                    label='a video of yours', file_types=[*VIDEO_SUFFIXES]
                )
                chosen = gr.Dropdown(
                    names,
                    value=None,
                    label='or choose one',
                    visible=bool(names),
                )
                about = gr.HTML()
                with gr.Row():
                    start = gr.Slider(0, 1, 0, step=0.01, label='from second')
                    end = gr.Slider(0, 1, 1, step=0.01, label='to second')
                texts = gr.Textbox(
                    example,
                    lines=3,
                    label='sentences, one a line',
                    placeholder='the red circle spins',
                )
                button = gr.Button('Ask', variant='primary')
            with gr.Column():
                video = gr.Video(
                    label='answer',
                    elem_id='hero-video',
                    buttons=['download'],
                    interactive=False,
                )
                # It plays in browsers; Gradio would run ffprobe each time.
                video.postprocess = lambda path: gr.FileData(path=path)
                answer = gr.HTML(elem_id='hero-answer')
                files = gr.File(
                    label='take away', file_count='multiple', interactive=False
                )
        clip = [about, start, end]
        upload.upload(take, upload, clip, api_name='upload')
        chosen.input(choose, chosen, clip, api_name='choose')
        asked, answered = [texts, start, end], [video, answer, files]
        button.click(ask, asked, answered, api_name='ask', concurrency_limit=1)
        page.unload(leave)
    page.desk = desk
    return page.queue(max_size=MOST_WAITING, default_concurrency_limit=4)


def _events(desk: Desk) -> tuple[Callable[..., Any], ...]:
    """What happens on the page: an upload, a choice, a question, the end."""
    import gradio as gr

    @contextmanager
    def said() -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            shown = dict(duration=None, print_exception=False)
            raise gr.Error(escape(error), **shown) from error

    def opened(request: gr.Request, *given: Optional[str]) -> tuple:
        with said():
            visit = desk.open(str(request.session_hash), *given)
            strip = b64encode(desk.strip(visit)).decode()
        facts = visit.facts
        seconds = round(float(facts['frame_edges'][-1]), 3)
        width, height = facts['size']
        about = (
            f'<p>{escape(visit.name)}: {seconds:.2f} s, '
            f'{facts["frame_count"]} frames, {width} x {height} pixels</p>'
            # No file: it would outlive the visit.
            f'<img src="data:image/jpeg;base64,{strip}" style="width: 100%">'
        )
        limits = dict(minimum=0, maximum=seconds, interactive=True)
        sliders = (gr.update(value=at, **limits) for at in (0, seconds))
        return about, *sliders

    def take(path: Optional[str], request: gr.Request) -> tuple:
        return opened(request, None, path)

    def choose(name: Optional[str], request: gr.Request) -> tuple:
        return opened(request, name)

    def ask(
        sentences: str,
        start: float,
        end: float,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008 (how Gradio takes it)
    ) -> tuple:
        with said():
            html, files = desk.ask(
                str(request.session_hash),
                (sentences or '').splitlines(),
                (float(start or 0), float(end or 0)),
                lambda share, text: progress(share, desc=printable(text)),
            )
        return files[0], html, files

    def leave(request: gr.Request) -> None:
        desk.leave(str(request.session_hash))

    return take, choose, ask, leave


def videos_to_choose(given: list[str]) -> dict[str, str]:
    """Videos, and those of folders, by the name that the page shows."""
    paths = list_videos(given)[0] if given else []
    return {name: path for path, name in short_names(paths).items()}


@contextmanager
def running(
    inferencer: TubeInferencer,
    videos: Mapping[str, str],
    host: str = '127.0.0.1',
    port: int = 7860,
    max_mb: float = 200,
    max_seconds: float = 300,
    password: Optional[str] = None,
) -> Iterator[Any]:
    """Serve the page for a while; then its files are removed.

    ``videos`` can be chosen, path by shown name; uploads of more than
    ``max_mb`` and videos of more than ``max_seconds`` are refused.

    Yields:
        gradio.Blocks: ``local_url`` says where, ``desk`` stands behind it.
    """
    # One pool of memory for all threads, where glibc has many: what a thread
    # frees would stay in its own, as large as its answer was.
    with suppress(OSError):
        ctypes.CDLL('libc.so.6').mallopt(M_ARENA_MAX, 1)
    _hook()
    with ExitStack() as stack:
        folder = TemporaryDirectory(
            prefix='hero_mm_web', ignore_cleanup_errors=True
        )
        root = Path(stack.enter_context(folder))
        settings = dict(
            GRADIO_TEMP_DIR=str(root),
            # Files in there can be read, too.
            GRADIO_EXAMPLES_CACHE=str(root / 'examples'),
            GRADIO_ANALYTICS_ENABLED='False',
        )
        before = {k: v for k, v in os.environ.items() if k in settings}
        stack.callback(os.environ.update, before)
        for name in settings:
            stack.callback(os.environ.pop, name, None)
        os.environ.update(settings)
        _allowed.append({*HERE, host})
        stack.callback(_allowed.pop)
        shown, example = dict(videos), ''
        if Path(inferencer.weights).parent == SHIPPED:
            shown[EXAMPLE] = str(SHIPPED / 'example.mp4')
            example = '\n'.join(read_json(SHIPPED / 'example.json')['texts'])
        page = make_page(Desk(inferencer, root, shown, max_seconds), example)
        stack.callback(page.close, verbose=False)
        _launch(page, host, port, max_mb, password)
        yield page


def _launch(
    page: Any, host: str, port: int, max_mb: float, password: Optional[str]
) -> None:
    import gradio as gr
    from starlette.middleware import Middleware

    def knows(user: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), str(password).encode())

    try:
        page.launch(
            server_name=host,
            server_port=port,
            max_file_size=f'{max_mb:g}mb',
            auth=knows if password else None,
            auth_message='any name, and the password',
            app_kwargs=dict(middleware=[Middleware(headers)]),
            theme=gr.themes.Default(
                font=('system-ui', 'sans-serif'), font_mono=('monospace',)
            ),
            css=CSS,
            head=SCRIPT,
            footer_links=[],
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        if 'empty port' not in str(error):
            raise
        raise UserError(
            f'port {port} of {host} is taken; give another one with --port'
        ) from error
