"""The viewer in a real Chromium: views, filters, links, the live update, hostile rollouts, keys, narrow screens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from viewed_runs import STEPS, Open, Serve, rollout, verdict, write_lines, write_run

VIEWS = ("", "curves?stage=rl", "rollouts", "rewards", "verifiers", "compare", "manifest")
DETAILS = ("group?stage=rl&step=2&group=1", "rollout/rl/5", "rollout/rl/7")
EVERY = (*VIEWS, *DETAILS)


def cells(page: Page, column: str) -> list[str]:
    texts: list[str] = page.locator(f"td[data-label='{column}']").all_inner_texts()
    return texts


def count(page: Page) -> str:
    text: str = page.locator("#total").inner_text()
    return text


def follow(page: Page, link: Locator) -> None:
    """Click what leads to another page, and wait until that page is whole."""
    with page.expect_navigation():
        link.click()


def press(page: Page, key: str) -> None:
    """Press a key that leads to another page, and wait until that page takes keys."""
    with page.expect_navigation():
        page.keyboard.press(key)


def test_start_lists_the_runs_and_leads_to_each(open_page: Open) -> None:
    page = open_page("/")
    assert cells(page, "run") == ["first", "second"]
    assert cells(page, "rollouts") == ["372", "192"]
    follow(page, page.get_by_role("link", name="second"))
    expect(page.get_by_role("heading", level=1)).to_have_text("second")


def test_overview_has_stages_results_intervals_and_curves(open_page: Open) -> None:
    page = open_page("/runs/first/")
    assert cells(page, "status") == ["finished", "finished"]
    assert cells(page, "math greedy") == ["0.250", "0.750"]
    assert cells(page, "from")[:2] == ["base", "base, rl"]
    intervals = page.locator("table", has=page.locator("th", has_text="prompts"))
    assert intervals.locator("td[data-label=prompts]").all_inner_texts() == ["3"] * 4
    assert re.fullmatch(r"0\.\d{3} \[-?0\.\d{3}, \d\.\d{3}\]", cells(page, "mean")[0])
    assert " ".join(page.locator("#results .facts").inner_text().split()) == "reward first 0.500 reward 1.250"
    assert "seed 0" in page.locator("#facts").inner_text()
    assert page.locator("figcaption").all_inner_texts()[0] == "Reward"


def test_overview_has_the_intervals_of_an_evaluation_itself(open_page: Open) -> None:
    page = open_page("/runs/second/")
    assert cells(page, "math greedy") == ["0.250 [0.200, 0.800]", "0.750 [0.200, 0.800]"]
    assert page.locator("th", has_text="prompts").count() == 0


def test_charts_of_the_overview_are_read_by_keys(open_page: Open) -> None:
    page = open_page("/runs/first/")
    chart = page.locator(".plot", has_text="Entropy")
    chart.locator("svg[role=img]").focus()
    expect(chart.locator("output")).to_have_text("step 60: 0.01667")


def test_views_are_reached_by_the_menu(open_page: Open) -> None:
    page = open_page("/runs/first/")
    for name in ("Curves", "Rollouts", "Rewards", "Verifiers", "Compare", "Manifest", "Overview"):
        follow(page, page.get_by_role("navigation").get_by_role("link", name=name))
        expect(page.locator("nav a[aria-current=page]")).to_have_text(name)


def test_curves_show_everything_logged_and_lay_runs_over_each_other(open_page: Open) -> None:
    page = open_page("/runs/first/curves?stage=rl")
    titles = page.locator("figcaption").all_inner_texts()
    assert {"reward (mean)", "math (mean)", "format (mean)", "learning_rate", "entropy"} <= set(titles)
    reward = page.locator("figure", has=page.get_by_text("reward (mean)", exact=True))
    assert reward.locator("polyline").count() == 2  # the points, and their moving mean
    page.get_by_label("without smoothing").check()
    page.get_by_label("runs laid over it").select_option("second")
    follow(page, page.get_by_role("button", name="Show"))
    assert reward.locator("polyline").count() == 2
    assert reward.locator(".legend li").all_inner_texts() == ["first", "second"]
    page.get_by_label("by task").check()
    page.get_by_label("names with").fill("math")
    follow(page, page.get_by_role("button", name="Show"))
    assert page.locator("figcaption").all_inner_texts() == ["math (mean)", "rewards/math/mean"]
    legend = page.locator("figure").first.locator(".legend li").all_inner_texts()
    assert legend == ["first: sums", "first: words", "second: sums", "second: words"]
    assert "with=second" in page.url
    assert "task=1" in page.url


def test_curves_are_read_by_pointer_and_keys(open_page: Open) -> None:
    page = open_page("/runs/first/curves?stage=rl&name=entropy")
    chart = page.locator(".plot svg[role=img]")
    chart.focus()
    expect(page.locator("output")).to_have_text("step 60: 0.01667")
    chart.press("ArrowLeft")
    expect(page.locator("output")).to_have_text(re.compile("step 59"))
    chart.press("Home")
    expect(page.locator("output")).to_have_text("step 1: 1")
    chart.hover(position={"x": 5, "y": 50})
    expect(page.locator("output")).to_have_text("step 1: 1")


FILTERS = (
    ("stage", "test", "stage=test", "12"),
    ("step from", "60", "step_min=60", "6"),
    ("model", "base", "model=base", "6"),
    ("task", "words", "task=words", "124"),
    ("words of the prompt", "is 2", "prompt_text=is+2", "124"),
    ("words of the completion", "herring", "text=herring", "1"),
    ("verifier", "math", "entry=math", "372"),
    ("failure", "timeout", "failure=timeout", "1"),
    ("outcome", "failed", "outcome=failed", "1"),
    ("reward from", "1.4", "reward_min=1.4", "123"),
    ("length (tokens) to", "11", "length_max=11", "6"),
    ("without a reward", "1", "unscored=1", "1"),
)
"""Each field of the form, a value, what it adds to the address, and how many rollouts pass."""

HOLD_SUBMITS = """
document.addEventListener('submit', event => {
  event.preventDefault();
  document.body.dataset.sent = new URLSearchParams(new FormData(event.target)).toString();
})
"""


def fill(page: Page, label: str, value: str) -> None:
    form = page.get_by_role("search")
    field = form.get_by_role("combobox", name=label, exact=True).or_(form.get_by_label(label, exact=True))
    kind = field.evaluate("field => field.type")
    if kind == "checkbox":
        field.check()
    elif kind == "select-one":
        field.select_option(value)
    else:
        field.fill(value)


def test_each_filter_is_in_the_address_alone(open_page: Open) -> None:
    page = open_page("/runs/first/rollouts")
    assert count(page) == "372"
    page.evaluate(HOLD_SUBMITS)
    for label, value, query, found in FILTERS:
        fill(page, label, value)
        page.get_by_role("button", name="Filter").click()
        assert page.evaluate("document.body.dataset.sent") == query
        page.evaluate("document.querySelector('form').reset()")
        answer = page.request.get(f"{page.url}?{query}").text()
        assert f'<b id="total">{found}</b>' in answer, query


def test_filters_can_be_removed(open_page: Open) -> None:
    page = open_page("/runs/first/rollouts")
    fill(page, "task", "words")
    fill(page, "words of the completion", "herring")
    follow(page, page.get_by_role("button", name="Filter"))
    assert page.url.endswith("?task=words&text=herring")
    assert count(page) == "0"
    chips = page.get_by_title("Remove this filter")
    assert chips.all_inner_texts() == ["task: words ✕", "words of the completion: herring ✕"]
    follow(page, chips.last)
    assert page.url.endswith("?task=words")
    assert count(page) == "124"
    follow(page, page.get_by_role("link", name="remove all"))
    assert count(page) == "372"


def test_filters_of_one_verifier_combine(open_page: Open) -> None:
    page = open_page(
        "/runs/first/rollouts?stage=rl&entry=math&value_min=1&step_min=10&step_max=12&sort=value"
    )
    assert set(cells(page, "math")) == {"1.000"}
    assert count(page) == str(len(cells(page, "math"))) == "6"
    page = open_page("/runs/first/rollouts?entry=format&failure=timeout")
    expect(page.locator("#table")).to_contain_text("No rollout matches")


def test_table_is_sorted_and_paged_by_links(open_page: Open) -> None:
    page = open_page("/runs/first/rollouts?stage=rl")
    follow(page, page.get_by_role("columnheader", name="tokens").get_by_role("link"))
    expect(page.get_by_role("columnheader", name="tokens")).to_have_attribute("aria-sort", "descending")
    assert cells(page, "tokens")[0] == "71"
    follow(page, page.get_by_role("columnheader", name="tokens").get_by_role("link"))
    assert cells(page, "tokens")[0] == "11"
    first = cells(page, "rollout")
    follow(page, page.get_by_role("link", name="after →"))
    assert not set(first) & set(cells(page, "rollout"))
    shared = page.url
    second = cells(page, "rollout")
    follow(page, page.get_by_role("link", name="← before"))
    assert cells(page, "rollout") == first
    page.goto(shared)
    assert cells(page, "rollout") == second


def test_wrong_address_of_a_table_says_what_is_wrong(open_page: Open) -> None:
    page = open_page("/runs/first/rollouts?reward_min=lots")
    expect(page.get_by_role("alert")).to_have_text("reward_min is 'lots', which is not a number.")


def test_group_has_rewards_advantages_and_verdicts_side_by_side(open_page: Open) -> None:
    page = open_page("/runs/first/rollouts?stage=rl&step_min=3&step_max=3")
    follow(page, page.get_by_role("link", name="group 0 of step 3").first)
    expect(page.get_by_role("heading", level=1)).to_have_text("rl: group 0 of step 3")
    assert page.locator("article").count() == 2
    left, right = (box.bounding_box() for box in page.locator("article").all())
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] < right["x"]
    shown = page.locator("article").first.inner_text()
    for part in (
        "reward 1.500",
        "advantage +0.500",
        "math 1.000 × 1",
        "answer 0",
        "because not the reference",
        "2.00 ms",
    ):
        assert part in " ".join(shown.split())
    expect(page.locator(".reference")).to_contain_text("gold-0")
    page.locator("article").first.get_by_text("evidence").click()
    expect(page.locator("article").first).to_contain_text('"tier": "exact"')
    follow(page, page.get_by_role("link", name="group after →"))
    expect(page.get_by_role("heading", level=1)).to_have_text("rl: group 1 of step 3")


def test_turns_and_tool_calls_are_a_conversation(open_page: Open) -> None:
    page = open_page("/runs/first/rollout/rl/5")
    article = page.locator("article")
    assert article.locator(".role").all_inner_texts() == [
        "assistant",
        "calls search",
        "tool search",
        "assistant",
    ]
    expect(article).to_contain_text("I must look.")
    expect(article.locator(".call")).to_contain_text('{"for": "fish"}')
    expect(article.locator(".turn.tool")).to_contain_text("found a herring")


def test_prompt_over_the_steps_leads_to_its_groups(open_page: Open) -> None:
    page = open_page("/runs/first/group?stage=rl&step=2&group=1")
    follow(page, page.get_by_role("link", name="this prompt over the steps"))
    assert len(cells(page, "step")) == STEPS + 2
    assert page.locator("figure").count() == 1
    follow(page, page.locator("td[data-label=step] a").nth(4))
    expect(page.get_by_role("heading", level=1)).to_have_text("rl: group 1 of step 5")


def test_verifiers_are_listed_by_failures_with_links(open_page: Open) -> None:
    page = open_page("/runs/first/verifiers")
    assert cells(page, "verifier")[0] == "math"
    assert cells(page, "failures")[0].strip() == "timeout 1"
    slowest = page.locator("td[data-label=slowest] a").first.get_attribute("href")
    assert slowest == "/runs/first/rollouts?stage=rl&sort=latency&descending=1"
    follow(page, page.get_by_role("link", name="timeout 1"))
    assert cells(page, "rollout") == ["rl:9"]
    assert cells(page, "math") == ["failed: timeout"]


def test_rewards_per_step_are_drawn(open_page: Open) -> None:
    page = open_page("/runs/first/rewards")
    cell = page.locator("figure", has_text="rl").locator("rect title").first
    assert re.match(r"steps 1 to 2: \d+ of 11 rewards from ", cell.text_content() or "")
    chart = page.locator(".plot", has_text="rl")
    chart.locator("svg[role=img]").press("Home")
    expect(chart.locator("output")).to_have_text("step 1: 0.5 to 0.55: 8, 1.45 to 1.5: 3")


def test_comparison_of_two_runs_shows_the_flips(open_page: Open) -> None:
    page = open_page("/runs/first/compare")
    first, second = page.locator("fieldset").all()
    for side in (first, second):
        side.get_by_label("stage").select_option("rl")
        side.get_by_label("what").select_option("math")
        side.get_by_label("steps from").fill("1")
        side.get_by_label("steps to").fill("1")
    follow(page, page.get_by_role("button", name="Compare"))
    facts = " ".join(page.locator("#comparison .facts").inner_text().split())
    assert "prompts on both 3" in facts
    assert re.search(r"flipped up 1\b", facts) or re.search(r"better 1\b", facts)
    follow(page, page.locator("#comparison td a").first)
    assert set(cells(page, "step")) == {"1"}


def test_comparison_of_two_verifiers_of_one_run(open_page: Open) -> None:
    page = open_page(
        "/runs/first/compare?a_run=first&a_stage=test&a_measure=math&b_run=first&b_stage=test&b_measure=format"
    )
    assert "means 0.333 → 1.000" in " ".join(page.locator("#comparison .facts").inner_text().split())


def test_two_rubrics_on_the_same_completions_show_the_flips(
    open_page: Open, serve: Serve, tmp_path: Path
) -> None:
    rows = [rollout(1, group, number) for group in range(3) for number in range(2)]
    old = [
        {**row, "reward": 0.0, "scores": {"math": verdict(0.0, explanation="no <answer>")}} for row in rows
    ]
    new = [*old[:4], {**rows[4], "reward": 1.0, "scores": {"math": verdict(1.0, explanation="the last box")}}]
    write_lines(tmp_path / "old.jsonl", old)
    write_lines(tmp_path / "new.jsonl", new)
    url = serve(tmp_path / "old.jsonl", tmp_path / "new.jsonl")
    page = open_page("/runs/old.jsonl/compare", base=url)
    facts = " ".join(page.locator("#comparison .facts").inner_text().split())
    assert facts.startswith("completions on both 5 means 0.000 → 0.200 better 1 worse 0 flipped up 1")
    assert cells(page, "prompt") == ["What is 2 and 2?"]
    assert cells(page, "flip") == ["up"]
    said = page.locator("td[data-label=completion]").inner_text()
    assert "first: math 0.000 no <answer>" in said
    assert "second: math 1.000 the last box" in said
    follow(page, page.get_by_role("link", name="second (1)"))
    expect(page.get_by_role("heading", level=1)).to_have_text("scored: rollout 5 of step 1")
    expect(page.locator("article")).to_contain_text("the last box")
    for view in VIEWS:
        page = open_page(f"/runs/new.jsonl/{view}".removesuffix("?stage=rl"), base=url)
        assert page.locator("h1").count() == 1


def test_manifest_shows_its_changes(open_page: Open) -> None:
    page = open_page("/runs/second/manifest")
    page.get_by_label("changes against").select_option("first")
    follow(page, page.get_by_role("button", name="Show"))
    assert '"seed": 0' in " ".join(page.locator(".removed").all_inner_texts())
    assert '"seed": 7' in " ".join(page.locator(".added").all_inner_texts())
    expect(page.locator("#main")).to_contain_text("A run to look at.")


def test_hostile_rollout_is_text(open_page: Open) -> None:
    for path in ("rollout/rl/7", "rollouts?stage=rl", "group?stage=rl&step=2&group=0"):
        page = open_page(f"/runs/first/{path}")
        assert "broken" not in page.title()
        assert page.locator("main img, main script, main style").count() == 0
        expect(page.locator("main")).to_contain_text("<script>document.title = 'broken'</script>")
    page = open_page("/runs/first/rollout/rl/7")
    shown = page.locator("article pre").first
    for code in ("U+202E", "U+200B", "U+0000", "U+001B"):
        expect(shown).to_contain_text(code)
    expect(shown).to_contain_text("{{ 7 * 7 }}")
    assert not set("\u202e\u200b\x00\x1b") & set(page.locator("main").inner_text())


def test_huge_text_is_cut_with_a_link_to_all(open_page: Open) -> None:
    page = open_page("/runs/first/rollout/rl/11")
    assert len(page.content()) < 50_000
    expect(page.locator("article")).to_contain_text("more characters")
    link = page.get_by_role("link", name="Show all").get_attribute("href")
    assert link == "/runs/first/text/rl/11/completion"
    whole = page.request.get(page.url.partition("/runs/")[0] + link)
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(whole.body()) == 10_000_010
    assert len(open_page("/runs/first/rollouts?stage=rl").content()) < 500_000


def test_live_page_follows_the_run(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "live", steps=5)
    (folder / "stages/test/result.json").unlink()
    url = serve(folder)
    page = open_page("/runs/live/rollouts?stage=rl&descending=1", base=url)
    overview = open_page("/runs/live/", base=url, beside=True)
    assert count(page) == "30"
    write_lines(folder / "stages/rl/rollouts.jsonl", [rollout(6, 0, number) for number in (0, 1)])
    expect(page.locator("td[data-label=step]").first).to_have_text("6")
    assert count(page) == "32"
    expect(overview.locator("#facts")).to_contain_text("rollouts 44")


def test_keys_select_rows_turn_pages_and_search(open_page: Open) -> None:
    page = open_page("/runs/first/rollouts?stage=rl")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr[aria-selected=true] td").first).to_have_text("rl:2")
    page.keyboard.press("k")
    press(page, "]")
    expect(page.locator("td[data-label=rollout]").first).to_have_text("rl:51")
    press(page, "[")
    expect(page.locator("td[data-label=rollout]").first).to_have_text("rl:1")
    page.keyboard.press("/")
    page.keyboard.type("herring")
    press(page, "Enter")
    expect(page.locator("td[data-label=rollout]")).to_have_text(["rl:5"])
    page.keyboard.press("j")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("rl: rollout 5 of step 1")


def test_every_control_is_reached_by_the_tab_key(open_page: Open) -> None:
    page = open_page("/runs/first/curves?stage=rl&name=entropy")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML.slice(0, 60)"))
    assert "Skip to the content" in reached[0]
    for part in ("Rollouts", 'name="stage"', 'name="task"', "<button", "<svg"):
        assert any(part in one for one in reached), part


CONTRASTS = """
() => {
  const known = {};
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = colour => known[colour] ??= measure(colour);
  const measure = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; }
    return [255, 255, 255, 255];
  };
  const weak = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.closest('title, option')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgb(e.closest('svg') ? style.fill : style.color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push([e.outerHTML.slice(0, 90), ratio]);
  }
  return weak;
}
"""


WIDER = """
[...document.querySelectorAll('main *:not(svg *)')]
  .filter(e => e.getBoundingClientRect().right > 401 && !e.closest('.skip, thead, pre'))
  .map(e => e.outerHTML.slice(0, 80))
"""

NAMELESS = """
[...document.querySelectorAll('input:not([type=hidden]), select, a, button, svg[role=img]')]
  .filter(e => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label'))
  .map(e => e.outerHTML)
"""


@pytest.mark.parametrize("path", EVERY)
def test_page_is_for_everyone(open_page: Open, path: str) -> None:
    """It fits a narrow screen, has the contrast of AA in both schemes, and names what a screen reader reads."""
    page = open_page(f"/runs/first/{path}", width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate(WIDER) == []
    page.emulate_media(color_scheme="light")
    assert page.evaluate(CONTRASTS) == []
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate(NAMELESS) == []
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_numbers_line_up_and_no_text_lies_on_curves(open_page: Open) -> None:
    page = open_page("/runs/first/")
    assert "tabular-nums" in page.locator("td.number").first.evaluate(
        "e => getComputedStyle(e).fontVariantNumeric"
    )
    assert page.locator("td.number").first.evaluate("e => getComputedStyle(e).textAlign") == "right"
    covered = page.evaluate(
        "[...document.querySelectorAll('figure > svg')].some(svg => [...svg.querySelectorAll('text')].some(t => "
        "[...svg.querySelectorAll('polyline')].some(p => { const a = t.getBBox(), b = p.getBBox(); return a.x < b.x + "
        "b.width - 1 && a.x + a.width > b.x + 1 && a.y < b.y + b.height && a.y + a.height > b.y; })))"
    )
    assert covered is False
