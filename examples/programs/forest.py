"""Not a DNN: a random forest of scikit-learn that classifies batches."""

import os
import sys

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from bayestuner.measure.reporter import done, ready

batch_size, trees = map(int, sys.argv[1:])
cores = int(os.environ.get("BAYESTUNER_CORES", "1"))
rng = np.random.default_rng(0)
x = rng.standard_normal((2000, 30))
y = (x[:, 0] * x[:, 1] > 0).astype(int)
model = RandomForestClassifier(trees, max_depth=12, n_jobs=1, random_state=0).fit(x, y)
model.n_jobs = cores
batch = rng.standard_normal((batch_size, 30))

ready()
while True:
    model.predict(batch)
    done(batch_size)
