"""Charts of evaluations and datasets (matplotlib, the extra `plot`), and pictures of detections and assignments."""

from yolox.errors import PlotError
from yolox.plot.assignment import visualize_assign
from yolox.plot.beside import beside_truths
from yolox.plot.charts import confusion_chart, f1_chart, precision_recall_chart
from yolox.plot.labels import label_chart

__all__ = [
    "PlotError",
    "beside_truths",
    "confusion_chart",
    "f1_chart",
    "label_chart",
    "precision_recall_chart",
    "visualize_assign",
]
