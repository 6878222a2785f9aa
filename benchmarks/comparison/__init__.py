"""The harness that runs bertie beside its peers: workloads × engines × metrics, in turn.

`workload` says what is run, `engines.table` who runs it, `job` what a worker process is told. `run` starts a worker for
each engine, checks its answers and lets one worker at a time do a round; `worker` is the process, `measure` what it
times and `checking` how answers are compared. `machine` describes the chip. `results` are the figures, as JSON;
`report` makes tables of them and `plot` a picture.
"""
