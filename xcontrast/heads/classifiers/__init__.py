"""Small classifiers on frozen features, each as plain arrays."""

from xcontrast.heads.classifiers.classifier import Classifier as Classifier
from xcontrast.heads.classifiers.linear import LinearClassifier as LinearClassifier
from xcontrast.heads.classifiers.neighbours import NeighbourClassifier as NeighbourClassifier
from xcontrast.heads.classifiers.prototypes import PrototypeClassifier as PrototypeClassifier
from xcontrast.heads.classifiers.trees import BoostingClassifier as BoostingClassifier
from xcontrast.heads.classifiers.trees import ForestClassifier as ForestClassifier
