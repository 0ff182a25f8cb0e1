"""From the lines of a journal to runs and steps, in SQL as DuckDB has it; `journal_tables` puts the parts together."""

from __future__ import annotations

NUMBERED = """row_number() OVER () AS position,
    * REPLACE (coalesce(workflow_name, '') AS workflow_name, coalesce(mode, 'default') AS mode)"""
# Records that DuckDB reads, but not as the format means them: these are read with more care.
BAD = """
SELECT count(*) FROM lines WHERE kind IS NULL
    OR kind IN ('run', 'step', 'start') AND (request_id IS NULL OR request_id[1] IN ('[', '{'))
    OR kind = 'run' AND (success IS NULL OR NOT isfinite(total_latency_ms))
    OR kind = 'step' AND (step_id IS NULL OR step_name IS NULL OR start IS NULL OR success IS NULL
        OR latency_ms IS NULL OR NOT isfinite(latency_ms) OR NOT isfinite(vram_peak_mb))
UNION ALL
SELECT count(*) FROM (SELECT unnest(steps) AS step FROM lines WHERE kind = 'run')
WHERE step.step_name IS NULL OR step.start IS NULL OR step.success IS NULL
    OR step.latency_ms IS NULL OR NOT isfinite(step.latency_ms) OR NOT isfinite(step.vram_peak_mb)
"""
BAD_SHAPES = """
SELECT count(*) FROM {lines} WHERE kind IN ('run', 'step', 'start') AND (
    json_type(attributes) <> 'OBJECT' OR json_type(quality_signals) <> 'OBJECT' OR json_type(cost_stats) <> 'OBJECT'
    OR json_type(urls_used) <> 'ARRAY' OR json_type(notes) <> 'ARRAY')
UNION ALL
SELECT count(*) FROM (SELECT unnest(steps) AS step FROM {lines} WHERE kind = 'run')
WHERE json_type(step.attributes) <> 'OBJECT' OR json_type(step.notes) <> 'ARRAY'
"""
COUNTS = """
SELECT
    count(*) FILTER (kind = 'run'),
    count(DISTINCT request_id) FILTER (kind = 'run'),
    count(*) FILTER (kind = 'step'),
    count(*) FILTER (kind = 'start'),
    coalesce(bool_or(len(steps) > 0) FILTER (kind = 'run'), false)
FROM lines
"""
STEP_IDS = "SELECT count(*) FROM (SELECT DISTINCT request_id, step_id FROM lines WHERE kind = 'step')"
# For each run the line it is shown by: its last record, else that of its beginning, else its first step.
HEADS = """
CREATE TABLE heads AS SELECT
    request_id,
    min(position) AS first,
    coalesce(max(position) FILTER (kind = 'run'), max(position) FILTER (kind = 'start'), min(position)) AS line,
    min(start) AS first_start
FROM lines WHERE kind IN ('run', 'step', 'start') GROUP BY request_id
"""
PLAIN_HEADS = """
CREATE VIEW heads AS SELECT request_id, position AS first, position AS line, NULL::TIMESTAMPTZ AS first_start
FROM lines WHERE kind = 'run'
"""
# What stands in the line of a step is not the run's.
RUNS = """
SELECT heads.first AS position, heads.request_id, workflow_name, mode, router_version,
    coalesce(timestamp, first_start) AS timestamp, total_latency_ms,
    kind = 'run' AND success AND heads.request_id NOT IN (FROM failed) AS success,
    kind <> 'run' OR coalesce(crashed, false) AS crashed, {error} {own}
FROM {lines} AS lines JOIN heads ON lines.position = heads.line
"""
RUNS_OWN = """, question, conversation_id, coalesce(turn_index, 0) AS turn_index, final_answer, urls_used,
    quality_signals, cost_stats, CASE WHEN kind <> 'step' THEN attributes END AS attributes,
    CASE WHEN kind <> 'step' THEN notes END AS notes, CASE WHEN kind <> 'step' THEN extra END AS extra
"""
# A step's place in the order of the journal: that of its line, and its number within the line.
STEPS_INSIDE = """
SELECT position * 1000000 + number AS position, request_id, {named} {columns}
FROM (SELECT position, request_id, workflow_name, mode, unnest(steps, max_depth := 2),
    generate_subscripts(steps, 1) AS number FROM {lines} WHERE kind = 'run')
"""
STEPS_ALONE = """
SELECT position * 1000000 AS position, request_id, {columns} FROM (SELECT *, 0 AS number FROM {lines}
WHERE kind = 'step')
"""
STEPS_OF_RUNS = """
SELECT steps.*, workflow_name, mode FROM ({steps}) AS steps
JOIN (SELECT heads.request_id, workflow_name, mode FROM lines JOIN heads ON lines.position = heads.line)
USING (request_id)
"""
STEP_COLUMNS = "step_name, start, latency_ms, success, vram_peak_mb, {error}"
STEP_OWN = """, coalesce(step_id, number::VARCHAR) AS step_id, parent_id, coalesce(model_loads, 0) AS model_loads,
    attributes, notes
"""
KEPT = "CREATE TABLE kept AS SELECT max(position) AS position FROM ({steps}) GROUP BY request_id, step_id"
FAILED = "CREATE TABLE failed AS SELECT DISTINCT request_id FROM narrow_steps WHERE NOT success"
NONE_FAILED = "CREATE TABLE failed (request_id VARCHAR)"
# The keys of a JSON object may hold anything, so they are looked up by pointers.
EXTRAS = """
CREATE OR REPLACE VIEW extras AS
SELECT position, any_value(to_json(map_from_entries(list_transform(unknown, lambda name: struct_pack(
    k := name, v := json -> ('/' || replace(replace(name, '~', '~0'), '/', '~1'))))))) AS extra
FROM (SELECT *, list_filter(json_keys(json), lambda name: name NOT IN ({known})) AS unknown FROM objects)
WHERE len(unknown) > 0 GROUP BY position
"""
# An error if one of them cannot be looked up.
BAD_EXTRAS = "SELECT count(*) FROM extras WHERE extra IS NULL"


def error_columns(present: str = "true") -> str:
    """Return the columns of an error, which other writers have as a text.

    Examples
    --------
    >>> error_columns().splitlines()[0]
    "CASE WHEN true THEN error ->> 'type' END AS error_type,"
    """
    message = "CASE json_type(error) WHEN 'VARCHAR' THEN error ->> '$' ELSE error ->> 'message' END"
    parts = {"error_type": "error ->> 'type'", "error": message, "error_stack": "error ->> 'stack'"}
    parts["error_cause"] = "error ->> 'cause'"
    return ",\n".join(f"CASE WHEN {present} THEN {part} END AS {name}" for name, part in parts.items())
