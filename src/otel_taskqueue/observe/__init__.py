"""What no worker can see about itself: queue sizes, oldest ages, consumers, heartbeats, schedules.

`loop` looks at all sources each interval while `election` lets it; a source (`redis_celery`, `rq`,
`rabbitmq`, `schedules`) reads one place; `report` exports what was read.
"""
