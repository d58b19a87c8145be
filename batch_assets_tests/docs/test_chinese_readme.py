"""README.zh-CN.md says what README.md says: the same chapters, commands, names and figures."""

import re

from batch_assets_tests.docs.pages import PROJECT, list_blocks

ENGLISH, CHINESE = PROJECT / "README.md", PROJECT / "README.zh-CN.md"
# In the order of the chapters.
CHAPTERS = {
    "Start": "开始",
    "What you get": "你得到什么",
    "In CI and on a schedule": "在 CI 和定时任务中",
    "Operate": "运维",
    "Your database": "你的数据库",
    "Feeds": "数据源",
    "Documents": "文档",
    "Spreadsheets": "电子表格",
    "Devices": "设备",
    "Tables, and assets of your own": "表，以及你自己的资产",
    "Speed": "速度",
    "Platforms": "平台",
    "The code": "代码",
}
FIGURE = re.compile(r"\d(?:[\d,.:–-]*\d)?")


def chapters(text: str) -> dict[str, str]:
    heads = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(heads[::2], heads[1::2], strict=True))


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


ENGLISH_TEXT = chapters(ENGLISH.read_text(encoding="utf-8"))
CHINESE_TEXT = chapters(CHINESE.read_text(encoding="utf-8"))


def test_chapters_are_the_same_in_the_same_order() -> None:
    assert list(ENGLISH_TEXT) == list(CHAPTERS)
    assert list(CHINESE_TEXT) == list(CHAPTERS.values())


def test_commands_and_configuration_are_the_same() -> None:
    for language in ("console", "toml"):
        assert list_blocks(ENGLISH, language) == list_blocks(CHINESE, language)


def test_figures_of_each_chapter_are_the_same() -> None:
    different = {}
    for english, chinese in CHAPTERS.items():
        told = set(FIGURE.findall(prose(ENGLISH_TEXT[english])))
        twin = set(FIGURE.findall(prose(CHINESE_TEXT[chinese])))
        if told != twin:
            different[english] = (sorted(told - twin), sorted(twin - told))

    assert different == {}, "only in English, only in Chinese"


def test_names_of_each_chapter_are_the_same() -> None:
    different = {}
    for english, chinese in CHAPTERS.items():
        told = set(re.findall(r"`[^`\n]+`", prose(ENGLISH_TEXT[english]).replace("\n", " ")))
        twin = set(re.findall(r"`[^`\n]+`", prose(CHINESE_TEXT[chinese]).replace("\n", " ")))
        if told != twin:
            different[english] = (sorted(told - twin), sorted(twin - told))

    assert different == {}, "only in English, only in Chinese"


def test_tables_have_the_same_rows() -> None:
    for english, chinese in CHAPTERS.items():
        rows = [
            len(re.findall(r"^\|.*\|$", text, re.MULTILINE))
            for text in (ENGLISH_TEXT[english], CHINESE_TEXT[chinese])
        ]
        assert rows[0] == rows[1], english
