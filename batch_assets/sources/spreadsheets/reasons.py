"""Reasons in English and Chinese, for the people who correct rows."""

from batch_assets.contracts.batch import Violation

_REASONS = {
    "error_cell": ("is an error of a formula", "公式出错", "请修正公式，或直接填写数值"),
    "formula_without_value": (
        "is a formula without a result",
        "公式没有计算结果",
        "请在表格软件中打开、计算并保存，或直接填写数值",
    ),
    "nul_character": ("has a character that no text has", "含有非法字符", "请重新输入该文本"),
    "wrong_kind": (
        "is a value of another kind",
        "数值类型不符",
        "请按要求的形式填写该值",
    ),
    "unparsable_number": ("is no number", "不是数字", "请只填写数字"),
    "not_an_integer": ("is no whole number", "不是整数", "请四舍五入为整数"),
    "too_many_decimals": ("has too many decimals", "小数位数过多", "请四舍五入到允许的位数"),
    "number_too_large": ("is too large", "数字过大", "请检查单位和小数点"),
    "unparsable_date": ("is no date", "不是日期", "请按 2024-09-30 的形式填写日期"),
    "time_in_date": ("has a time of day", "日期中含有时间", "请删除时间部分"),
    "unparsable_time": ("is no time of day", "不是时间", "请按 13:05 的形式填写时间"),
    "unparsable_boolean": ("is neither yes nor no", "不是“是/否”", "请填写允许的值之一"),
    "missing_value": ("is empty", "缺少值", "请填写该单元格"),
    "value_not_allowed": ("is not one of the allowed values", "不是允许的值", "请选择允许的值之一"),
    "pattern_mismatch": ("does not have the form expected", "格式不符", "请按要求的形式填写"),
    "below_minimum": ("is too small", "小于最小值", "请检查数值和单位"),
    "above_maximum": ("is too large", "大于最大值", "请检查数值和单位"),
    "date_out_of_range": ("is a date nobody can mean", "日期超出范围", "请修正日期"),
    "conflicting_duplicate_key": (
        "stands there twice, with different values",
        "主键重复且内容不一致",
        "请保留正确的一行，其余行选择 drop",
    ),
    "refused_by_table": ("is refused by the table", "被数据表约束拒绝", "请修正该行"),
}
_UNKNOWN = ("is not as expected", "不符合要求", "请修正该行")


def reason_of(violation: Violation, name: str) -> str:
    """What is wrong, in both languages.

    Args:
        violation: One thing wrong with a row.
        name: The column as the file names it.
    """
    english, chinese, _ = _REASONS.get(violation.rule, _UNKNOWN)
    seen = "" if violation.observed is None else f" ({violation.observed})"
    return f"{name}{seen} {english}; expected {violation.expected} / {name}：{chinese}"


def hint_of(violation: Violation) -> str:
    """What to do, in both languages."""
    chinese = _REASONS.get(violation.rule, _UNKNOWN)[2]
    return f"{violation.hint} / {chinese}" if violation.hint else chinese


def rule_words(rule: str) -> str:
    """A rule for the list of reasons, in both languages."""
    english, chinese, _ = _REASONS.get(rule, _UNKNOWN)
    return f"{english} / {chinese}"
