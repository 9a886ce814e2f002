//! What accuracies are called: of images, or of scenes' pixels.

/// Names of what is measured.
pub(super) struct Measure {
    /// Test accuracy.
    pub(super) accuracy: &'static str,
    /// The same, where there is room for ten letters.
    pub(super) short: &'static str,
    /// Of the best epoch.
    pub(super) best: &'static str,
    /// On an axis.
    pub(super) axis: &'static str,
}

/// Names for a classifier, or for segmentation, whose best epoch is that of the best score.
pub(super) fn measure(of_scenes: bool) -> Measure {
    if of_scenes {
        Measure {
            accuracy: "pixel accuracy",
            short: "pixel acc.",
            best: "best score",
            axis: "% of pixels",
        }
    } else {
        Measure {
            accuracy: "test top-1",
            short: "test top-1",
            best: "best top-1",
            axis: "% put first",
        }
    }
}
