"""A fuzz: seeded mutations of every kind of file that is read. Reading one gives a value or an error of the project's
own, within bounds of memory and time: python -m tests.fuzz --count 10000 --seed 0 --out results/fuzz"""
