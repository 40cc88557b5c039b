import base64
import hashlib
import re

from prometheus_client.parser import text_string_to_metric_families


async def test_live_is_200_even_when_not_ready(api, house):
    house.reasons.append("broker away")
    assert (await api.get("/health/live")).status == 200


async def test_ready_is_503_with_the_reasons(api, house):
    nothing = {"ready": True, "reasons": [], "degraded": []}
    assert await (await api.get("/health/ready")).json() == nothing
    house.reasons.append("the broker is away")
    response = await api.get("/health/ready")
    assert response.status == 503
    assert await response.json() == {
        "ready": False,
        "reasons": ["the broker is away"],
        "degraded": [],
    }


async def test_what_it_serves_without_is_named_and_it_is_ready_all_the_same(api, house):
    house.degraded.append("the source redis stock.* cannot be heard")
    response = await api.get("/health/ready")
    assert response.status == 200
    body = await response.json()
    assert (body["ready"], body["degraded"]) == (True, house.degraded)
    assert (await (await api.get("/status")).json())["degraded"] == house.degraded


async def test_status_has_the_sources_as_all_workers_hear_them(api, house):
    house.metrics.source_away.labelled("redis", "stock.*").read = lambda: 1
    house.metrics.source_away.labelled("postgres", "pg.*").read = lambda: 0
    body = await (await api.get("/status")).json()
    assert body["sources"] == [
        {"type": "redis", "match": "stock.*", "heard": False},
        {"type": "postgres", "match": "pg.*", "heard": True},
    ]


async def test_metrics_are_prometheus_text(api, house):
    house.metrics.deliveries_total.labelled().value = 7
    response = await api.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = {f.name: f for f in text_string_to_metric_families(await response.text())}
    assert families["wsgate_deliveries"].samples[0].value == 7


async def test_status_has_facts_and_numbers(api, house):
    house.metrics.connections.labelled().read = lambda: 3
    house.metrics.messages_received_total.labelled("chat", "text").value = 4
    house.metrics.messages_received_total.labelled("news", "text").value = 5
    durations = house.metrics.fastcgi_request_duration_seconds
    durations.labelled("app", "chat", "success").observe(0.010)
    durations.labelled("app", "news", "success").observe(0.030)
    house.metrics.fastcgi_errors_total.labelled("app", "queue_full").value = 2
    body = await (await api.get("/status")).json()
    assert (body["ready"], body["version"]) == (True, "1.2.3")
    assert body["totals"]["connections"] == 3
    assert body["totals"]["messages_received"] == 9
    (upstream,) = body["upstreams"]
    assert (upstream["name"], upstream["requests"], upstream["errors"]) == ("app", 2, 2)
    assert upstream["mean_ms"] == 20


async def test_the_page_is_whole_in_itself_and_its_policy_names_its_parts(api):
    response = await api.get("/")
    assert response.status == 200
    assert response.content_type == "text/html"
    page = await response.text()
    assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", page)
    policy = response.headers["Content-Security-Policy"]
    for element in ("script", "style"):
        (inside,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
