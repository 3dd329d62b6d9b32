"""A real browser at the seat outside, and what a user of JupyterHub does with it."""

from __future__ import annotations

import contextlib
import ctypes
import os

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from .conftest import PUBLIC

SEAT = "/run/netns/idrlab-seat"
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--ignore-certificate-errors", "--window-size=1300,800")  # fmt: skip
# In the page of a user's server: start a kernel, with the page's own cookies and against its own origin.
START_KERNEL = """
const done = arguments[arguments.length - 1];
const token = document.cookie.split('; ').find(each => each.startsWith('_xsrf=')).slice(6);
fetch(arguments[0] + 'api/kernels', {method: 'POST', headers: {'X-XSRFToken': token}, body: '{"name": "python3"}'})
    .then(answer => answer.json()).then(kernel => done(kernel.id), error => done('' + error));
"""
# Run a cell over the kernel's websocket; what it prints, and how it ended.
RUN = """
const [url, kernel, code, done] = arguments;
const socket = new WebSocket(url.replace(/^http/, 'ws') + 'api/kernels/' + kernel + '/channels');
const id = crypto.randomUUID();
let printed = '', ended = 'closed', replied = false, idle = false;
socket.onopen = () => socket.send(JSON.stringify({
    channel: 'shell', parent_header: {}, metadata: {},
    header: {msg_id: id, msg_type: 'execute_request', session: id, username: '', version: '5.3', date: new Date()},
    content: {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false}}));
socket.onmessage = event => {
    const message = JSON.parse(event.data);
    if (message.parent_header.msg_id !== id) return;
    if (message.msg_type === 'stream') printed += message.content.text;
    if (message.msg_type === 'error') ended = message.content.ename + ': ' + message.content.evalue;
    if (message.msg_type === 'execute_reply' && message.content.status === 'ok') ended = 'ok';
    // the answer comes by another channel than what was printed, so either can be the last
    replied ||= message.msg_type === 'execute_reply';
    idle ||= message.content.execution_state === 'idle';
    if (replied && idle) socket.close();
};
socket.onclose = () => done([ended, printed]);
"""


@contextlib.contextmanager
def at_the_seat():
    """This thread, and what it starts, on the network of the seat."""
    with open("/proc/thread-self/ns/net") as here, open(SEAT) as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(here)


def _enter(network):
    if libc.setns(network.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Cell(Exception):
    """A cell that didn't end well: how, and what it had printed."""


class User:
    """Somebody in front of a browser."""

    def __init__(self, name: str, password: str):
        self.name, self.password = name, password
        self.url = f"https://{PUBLIC}/jupyter/user/{name}/"
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in QUIET:
            options.add_argument(argument)
        with at_the_seat():
            self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.kernel = None

    def close(self):
        with at_the_seat():
            self.driver.quit()

    def page(self, path: str) -> str:
        """Go to a page below /jupyter and return what it shows."""
        with at_the_seat():
            self.driver.get(f"https://{PUBLIC}/jupyter{path}")
            return self.driver.find_element(By.TAG_NAME, "body").text

    def log_in(self):
        """Type name and password into the page that the site's address leads to."""
        self.page("")
        with at_the_seat():
            self.driver.find_element(By.ID, "username_input").send_keys(self.name)
            self.driver.find_element(By.ID, "password_input").send_keys(self.password)
            self.driver.find_element(By.ID, "login_submit").click()

    def wait_for_lab(self, seconds: float = 300):
        """Until JupyterLab shows its launcher."""
        with at_the_seat():
            WebDriverWait(self.driver, seconds, 0.5).until(
                lambda driver: driver.current_url.startswith(self.url)
                and driver.find_elements(By.CSS_SELECTOR, ".jp-Launcher-body .jp-LauncherCard")
            )
        self.kernel = None

    def files(self) -> list[str]:
        """What the file browser lists, once it has something."""
        with at_the_seat():
            # the list may be made anew between two looks
            shown = WebDriverWait(self.driver, 300, ignored_exceptions=[StaleElementReferenceException]).until(
                lambda driver: [each.text for each in driver.find_elements(By.CSS_SELECTOR, ".jp-DirListing-itemText")]
            )
        return shown

    def cookies(self) -> dict[str, dict]:
        """The cookies that the page which is open would send back, by name."""
        with at_the_seat():
            return {each["name"]: each for each in self.driver.get_cookies()}

    def run(self, code: str, seconds: float = 100) -> str:
        """
        Run a cell in this user's kernel, over its websocket, and return what it printed.

        seconds:  less than the 120 after which the browser itself is given up
        """
        with at_the_seat():
            self.driver.set_script_timeout(seconds)
            if not self.kernel:
                self.kernel = self.driver.execute_async_script(START_KERNEL, self.url)
            ended, printed = self.driver.execute_async_script(RUN, self.url, self.kernel, code)
        if ended != "ok":
            raise Cell(f"{ended}\n{printed}")
        return printed

    def shot(self, path: os.PathLike):
        with at_the_seat():
            self.driver.save_screenshot(str(path))
