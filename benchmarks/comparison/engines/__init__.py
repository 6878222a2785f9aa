"""The engines: bertie and its peers. `table` lists them; each file opens one package, and is imported only for that.

An engine is a function ``open(job, **options)`` that loads a model and returns a function from texts to answers: rows
of numbers for "embed", "classify" and "train", lists of ids for "tokenize". Some have a second one, ``convert(job,
folder)``, which writes the model in the engine's own format before anything is timed.
"""
