//! How images with a class for each pixel are read and scaled.

use clap::Args;

use crate::train::data::scenes::ValueList;

#[derive(Debug, Args)]
pub(crate) struct SceneArgs {
    /// segmentation: values of the classes in label maps, in their order, as in 1-150 [default: the recipe's, or
    /// else 0, 1, …, one for each name in classes.txt]
    #[arg(long, value_name = "V,…")]
    pub(crate) label_values: Option<ValueList>,
    /// segmentation: values of pixels that do not count [default: the recipe's, or else 255]
    #[arg(long, value_name = "V,…")]
    pub(crate) ignored_values: Option<ValueList>,
    /// segmentation: lengths of the images' shorter side in tests, whose predictions are averaged; 0: their own
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1)]
    pub(crate) test_sides: Option<Vec<usize>>,
    /// segmentation: greatest length of the images' longer side; 0: any
    #[arg(long, value_name = "N")]
    pub(crate) long_side: Option<usize>,
    /// segmentation: pixels beside a smaller image of a batch: ignore, or first (they are of the first class,
    /// as in the reference for ADE20K)
    #[arg(long, value_name = "HOW", value_parser = ["ignore", "first"])]
    pub(crate) label_pad: Option<String>,
}
