# Its first replicas, those of the next release, and those after a stop: web follows worker each time.
deploy web=2 worker=2 after=worker
settle
deploy web=2 worker=2 after=worker
settle
stop
settle
start
settle
# What is broken of worker brings nothing of web.
deploy web=2 worker=2 after=worker broken
settle
# Outside of deployments one worker is enough.
kill
settle
