"""Pictures of detections, assignments and training samples (OpenCV), and charts of runs and datasets (matplotlib)."""

from yolox.visualize.assignment import visualize_assign
from yolox.visualize.charts import (
    confusion_chart,
    error_chart,
    f1_chart,
    history_chart,
    label_chart,
    precision_recall_chart,
)
from yolox.visualize.draw import class_color, draw_detections
from yolox.visualize.grids import draw_beside_ground_truth, leak_grid, sample_grid, tile_images
from yolox.visualize.report import recipe_settings, report_html, write_report
from yolox.visualize.run_pictures import RunPictures, evaluation_report, write_charts, write_comparisons

__all__ = [
    "class_color",
    "confusion_chart",
    "draw_beside_ground_truth",
    "draw_detections",
    "RunPictures",
    "error_chart",
    "evaluation_report",
    "f1_chart",
    "history_chart",
    "label_chart",
    "leak_grid",
    "precision_recall_chart",
    "recipe_settings",
    "report_html",
    "sample_grid",
    "tile_images",
    "visualize_assign",
    "write_charts",
    "write_comparisons",
    "write_report",
]
