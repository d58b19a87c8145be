"""A baostock server on loopback that speaks the real protocol, and misbehaves on demand."""

import contextlib
import json
import select
import socket
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import date
from typing import Self

from batch_assets_tests.fakes.bars import Bar

SP = "\x01"
END = b"<![CDATA[]]>\n"
COMPRESSED = {"96", "99", "9B", "9D"}
DAY_COLUMNS = (
    "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,"
    "peTTM,pbMRQ,psTTM,pcfNcfTTM,isST"
)
STOCK_COLUMNS = "code,code_name,ipoDate,outDate,type,status"
STATUS_COLUMNS = "code,tradeStatus,code_name"
FACTOR_COLUMNS = "code,dividOperateDate,foreAdjustFactor,backAdjustFactor,adjustFactor"
DRIP_SECONDS = 0.05


class BaostockServer:
    """Serves days; `faults` are taken one for each request after the login.

    Faults: silent, reset, close, half_frame, fragmented, drip, garbage, bad_zip, no_end, an error
    code (`10001011`), or `04:` and a code for an error frame.

    Attributes:
        days: Rows by ISO date, as the vendor's 18 columns.
        listed: Rows of query_stock_basic, STOCK_COLUMNS.
        statuses: Rows of query_all_stock by ISO date, STATUS_COLUMNS.
        factors: Rows of query_adjust_factor by code, FACTOR_COLUMNS.
        faults: Taken from the left.
        login_faults: The same for logins.
        requests: Type and fields of every request.
        logins: How many.
        most_open: Connections open at the same time, at most.
        latency_seconds: Waited before each answer.
        read_frame: Gives the whole frame of a day, in place of `days`.
    """

    def __init__(self) -> None:
        self.days: dict[str, list[list[str]]] = {}
        self.sessions: dict[str, str] = {}
        self.listed: list[list[str]] = []
        self.statuses: dict[str, list[list[str]]] = {}
        self.factors: dict[str, list[list[str]]] = {}
        self.faults: deque[str] = deque()
        self.login_faults: deque[str] = deque()
        self.requests: list[tuple[str, list[str]]] = []
        self.logins = 0
        self.most_open = 0
        self.page_rows = 2000
        self.latency_seconds = 0.0
        self.read_frame: Callable[[str], bytes] | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with self._lock:
            for connection in self._open:
                connection.close()
        for thread in self._threads:
            thread.join(timeout=5)
        self._listener.close()

    def add_day(self, day: date, bars: Sequence[Bar]) -> None:
        self.days[day.isoformat()] = [day_row(bar) for bar in bars]

    @property
    def questions(self) -> list[list[str]]:
        """Fields of the requests that asked for data."""
        return [fields for type_, fields in self.requests if type_ not in ("00", "02")]

    @property
    def open_connections(self) -> int:
        """Connections whose client has not closed them."""
        with self._lock:
            return sum(not _has_left(connection) for connection in self._open)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with self._lock:
                still_open = [other for other in self._open if not _has_left(other)]
                self._open.add(connection)
                self.most_open = max(self.most_open, len(still_open) + 1)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            # Raised when the client has gone, or the test is over.
            with contextlib.suppress(OSError):
                connection.settimeout(30)
                while request := self._read_request(connection):
                    self._answer(connection, *request)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _read_request(self, connection: socket.socket) -> tuple[str, list[str]] | None:
        received = b""
        while not received.endswith(b"\n"):
            piece = connection.recv(8192)
            if not piece:
                return None
            received += piece
        head, _, checksum = received[:-1].decode().rpartition(SP)
        assert zlib.crc32(head.encode()) == int(checksum), "the request's checksum is wrong"
        version, type_, length_and_body = head.split(SP, 2)
        assert version == "00.9.40", version
        body = length_and_body[10:]
        assert int(length_and_body[:10]) == len(body), "the request's length is wrong"
        fields = body.split(SP)
        self.requests.append((type_, fields))
        return type_, fields

    def _answer(self, connection: socket.socket, type_: str, fields: list[str]) -> None:
        if type_ == "00":
            self.logins += 1
            fault = self.login_faults.popleft() if self.login_faults else ""
            frame = encode("01", ["0", "success", "login", fields[1]])
        elif type_ == "02":
            fault, frame = "", encode("03", ["0", "success", "logout", fields[1], "20240930"])
        else:
            fault = self.faults.popleft() if self.faults else ""
            frame = self._data(type_, fields)
        self._send(connection, type_, frame, fault)

    def _data(self, type_: str, fields: list[str]) -> bytes:
        if type_ == "98":
            method, user, day = fields
            if self.read_frame is not None:
                return self.read_frame(day)
            record = json.dumps({"record": self.days.get(day, [])})
            return encode("99", ["0", "success", method, user, record, DAY_COLUMNS])
        if type_ == "95":
            return self._symbol_page(fields)
        if type_ == "33":
            return self._sessions_page(fields)
        if type_ == "45":
            return self._page("46", fields, self.listed, STOCK_COLUMNS)
        if type_ == "35":
            return self._page("36", fields, self.statuses.get(fields[4], []), STATUS_COLUMNS)
        if type_ == "15":
            _, _, _, _, code, start, end = fields
            rows = [row for row in self.factors.get(code, []) if start <= row[1] <= end]
            return self._page("16", fields, rows, FACTOR_COLUMNS)
        if type_ == "9C":
            method, user, day = fields
            rows = [row for rows in self.factors.values() for row in rows if row[1] == day]
            record = json.dumps({"record": rows})
            return encode("9D", ["0", "success", method, user, record, FACTOR_COLUMNS])
        return encode("04", ["10004020", "错误的消息类型"])

    def _symbol_page(self, fields: list[str]) -> bytes:
        method, user, page, _, code, columns, start, end, frequency, flag = fields
        names = DAY_COLUMNS.split(",")
        rows = [
            [row[names.index(name)] for name in columns.split(",")]
            for day, bars in sorted(self.days.items())
            for row in bars
            if start <= day <= end and row[1] == code
        ]
        at = (int(page) - 1) * self.page_rows
        record = json.dumps({"record": rows[at : at + self.page_rows]})
        answer = ["0", "success", method, user, page, str(self.page_rows), record]
        return encode("96", [*answer, code, columns, start, end, frequency, flag])

    def _page(self, type_: str, fields: list[str], rows: list[list[str]], columns: str) -> bytes:
        method, user, page, _, *asked = fields
        at = (int(page) - 1) * self.page_rows
        record = json.dumps({"record": rows[at : at + self.page_rows]})
        answer = ["0", "success", method, user, page, str(self.page_rows), record]
        return encode(type_, [*answer, *asked, columns])

    def _sessions_page(self, fields: list[str]) -> bytes:
        method, user, page, count, start, end = fields
        rows = [[day, state] for day, state in sorted(self.sessions.items()) if start <= day <= end]
        record = json.dumps({"record": rows})
        answer = ["0", "success", method, user, page, count, record, start, end]
        return encode("34", [*answer, "calendar_date,is_trading_day"])

    def _send(self, connection: socket.socket, type_: str, frame: bytes, fault: str) -> None:
        if self.latency_seconds:
            self._stopping.wait(self.latency_seconds)
        if fault == "silent":
            self._stopping.wait(30)
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
        elif fault == "close":
            connection.close()
        elif fault in ("fragmented", "drip"):
            self._send_slowly(connection, frame, 700 if fault == "fragmented" else 1)
        else:
            connection.sendall(_altered(type_, frame, fault))
            if fault == "half_frame":
                connection.close()

    def _send_slowly(self, connection: socket.socket, frame: bytes, size: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(frame), size):
            connection.sendall(frame[at : at + size])
            # A pace, not a synchronisation: 700 bytes at once, or a byte every 50 ms.
            if size == 1 and self._stopping.wait(DRIP_SECONDS):
                return


def _has_left(connection: socket.socket) -> bool:
    """Whether the client has closed, even if our thread has not noticed yet."""
    try:
        # Asked first: a socket with a time-out waits for it, whatever the flags say.
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def _altered(type_: str, frame: bytes, fault: str) -> bytes:
    """The frame as the fault leaves it; an error code in place of the answer otherwise."""
    altered = {
        "": frame,
        "half_frame": frame[: len(frame) // 2],
        "garbage": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + END,
        "no_end": frame[: -len(END)] + b"x" * 8000,
        "bad_zip": frame[:21] + b"\x00" * (len(frame) - 21 - len(END)) + END,
    }
    if fault in altered:
        return altered[fault]
    if fault.startswith("04:"):
        return encode("04", [fault[3:], "错误"])
    return encode({"00": "01", "98": "99", "95": "96"}.get(type_, "04"), [fault, "拒绝"])


def encode(type_: str, fields: Sequence[str]) -> bytes:
    body = SP.join(fields).encode()
    if type_ in COMPRESSED:
        body = zlib.compress(body)
    head = f"00.9.40{SP}{type_}{SP}{len(body):010d}".encode() + body
    # The vendor's own client needs a separator after the last field.
    return head + f"{SP}{zlib.crc32(head)}".encode() + END


def day_row(bar: Bar, *, status: str = "1") -> list[str]:
    return [
        bar.day.isoformat(), f"{bar.exchange.lower()}.{bar.code}", f"{bar.open:.4f}",
        f"{bar.high:.4f}", f"{bar.low:.4f}", f"{bar.close:.4f}", f"{bar.pre_close:.4f}",
        f"{bar.volume:.0f}", f"{bar.amount:.4f}", "3", "0.1", status, "1.0", "", "", "", "", "0",
    ]  # fmt: skip
