"""xcontrast: from Sentinel-1/2 cubes to contrastive encoders, embeddings and maps, in xarray."""

from __future__ import annotations

from xcontrast import accessor as accessor
from xcontrast import fields as fields
from xcontrast.cubes.arrays import as_cube as as_cube
from xcontrast.cubes.collecting import CollectOptions as CollectOptions
from xcontrast.cubes.collecting import collect as collect
from xcontrast.cubes.collecting import open_collection as open_collection
from xcontrast.cubes.cube import open_cube as open_cube
from xcontrast.cubes.faults import Patience as Patience
from xcontrast.cubes.locations import sample_locations as sample_locations
from xcontrast.cubes.options import CubeOptions as CubeOptions
from xcontrast.cubes.registration import measure_shifts as measure_shifts
from xcontrast.cubes.reports import read_report as read_report
from xcontrast.cubes.signing import TokenSigner as TokenSigner
from xcontrast.cubes.simulate import read_truth as read_truth
from xcontrast.cubes.simulate import simulate_archive as simulate_archive
from xcontrast.cubes.zones import split_zones as split_zones
from xcontrast.embedding.change import change as change
from xcontrast.embedding.clusters import cluster as cluster
from xcontrast.embedding.composites import before_after as before_after
from xcontrast.embedding.embed import embed as embed
from xcontrast.embedding.packing import pack as pack
from xcontrast.embedding.packing import unpack as unpack
from xcontrast.embedding.seams import seam_score as seam_score
from xcontrast.embedding.similarity import similar as similar
from xcontrast.evaluation.calibration import calibration as calibration
from xcontrast.evaluation.options import ProbeOptions as ProbeOptions
from xcontrast.evaluation.page import evaluate as evaluate
from xcontrast.evaluation.probe import probe as probe
from xcontrast.evaluation.scores import score as score
from xcontrast.heads.combining import combine as combine
from xcontrast.heads.fitting import fit as fit
from xcontrast.heads.head import Head as Head
from xcontrast.heads.head import load_head as load_head
from xcontrast.heads.maps import predict as predict
from xcontrast.heads.segmenting.finetune import finetune as finetune
from xcontrast.heads.segmenting.options import FinetuneOptions as FinetuneOptions
from xcontrast.heads.segmenting.segmenter import Segmenter as Segmenter
from xcontrast.heads.segmenting.segmenter import load_segmenter as load_segmenter
from xcontrast.legends import DYNAMIC_WORLD as DYNAMIC_WORLD
from xcontrast.legends import FLOOD as FLOOD
from xcontrast.legends import WORLDCOVER as WORLDCOVER
from xcontrast.legends import Legend as Legend
from xcontrast.mapping.cog import to_cog as to_cog
from xcontrast.mapping.plan import MapPlan as MapPlan
from xcontrast.mapping.planning import plan_map as plan_map
from xcontrast.model import Model as Model
from xcontrast.model import import_weights as import_weights
from xcontrast.model import load_model as load_model
from xcontrast.model import read_export as read_export
from xcontrast.model import share as share
from xcontrast.nn.augmentation import Augmentation as Augmentation
from xcontrast.plotting import plot as plot
from xcontrast.plotting.clicks import Clicks as Clicks
from xcontrast.plotting.clicks import click as click
from xcontrast.sampling.chips import Chips as Chips
from xcontrast.sampling.cutting import chips as chips
from xcontrast.sampling.pairing import pairs as pairs
from xcontrast.sampling.saving import load_chips as load_chips
from xcontrast.sensors import S1 as S1
from xcontrast.sensors import S2 as S2
from xcontrast.sensors import Sensor as Sensor
from xcontrast.store import write_zarr as write_zarr
from xcontrast.training.options import PretrainOptions as PretrainOptions
from xcontrast.training.pretrain import pretrain as pretrain
from xcontrast.version import __version__ as __version__

fields.explain_fields(
    Augmentation, CollectOptions, CubeOptions, FinetuneOptions, Legend, Patience, PretrainOptions,
    ProbeOptions, Sensor,
)  # fmt: skip
