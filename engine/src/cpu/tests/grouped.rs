//! Grouped convolutions with several groups per vector.

use super::check_as;
use crate::net::{Convolution, Init, Shape};

/// As [`check_as`], for one layer with groups of `width` channels.
fn check_grouped(width: usize, input: Shape, images: usize, layer: Convolution) {
    let kind = if width == 1 { "depthwise" } else { "grouped" };
    let layer = layer.groups(input.channels / width);
    let found = check_as(kind, input, images, |graph, x| {
        graph.convolution("layer", x, &layer).unwrap()
    });
    assert_eq!(found, 1, "{width}, {input:?}");
}

#[test]
fn every_width_and_shape() {
    let bias = Init::Constant(0.0);
    for width in [1, 2, 4, 8] {
        // The last vector is partly padding.
        for groups in [3, 5, 24 / width] {
            let channels = groups * width;
            let layer = |kernel: usize| Convolution::new(channels, kernel).padding(kernel / 2);
            let input = |height, columns| Shape::new(channels, height, columns);
            check_grouped(width, input(9, 7), 3, layer(3).bias(bias));
            check_grouped(width, input(9, 12), 2, layer(3).stride(2));
            check_grouped(width, input(5, 6), 3, layer(1).stride(2));
            check_grouped(width, input(7, 10), 2, layer(5).stride(2).bias(bias));
            check_grouped(width, input(8, 11), 2, layer(3).padding(2).dilation(2));
            check_grouped(width, input(1, 1), 1, layer(3));
        }
    }
}

#[test]
fn depthwise_pixels_go_side_by_side() {
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        // All block sizes, and rows longer than one piece.
        for width in [4, 9, 19, 24].map(|pixels| pixels * stride + kernel) {
            for channels in [5, 48] {
                let layer = Convolution::new(channels, kernel).padding(kernel / 2);
                let input = Shape::new(channels, 6, width);
                check_grouped(1, input, 2, layer.stride(stride));
            }
        }
        // No padding, and so much that some rows of pixels have no tap inside.
        for padding in [0, kernel] {
            let layer = Convolution::new(24, kernel).padding(padding);
            check_grouped(1, Shape::new(24, 8, 22), 3, layer.stride(stride));
        }
        // In backward with a stride, dilated taps become adjacent.
        let layer = Convolution::new(24, kernel).padding(kernel).dilation(2);
        check_grouped(1, Shape::new(24, 9, 26), 2, layer.stride(stride));
    }
}

#[test]
fn small_maps_go_from_image_to_image() {
    for width in [1, 2, 4, 8] {
        let layer = Convolution::new(24, 3).padding(1);
        check_grouped(width, Shape::new(24, 2, 3), 40, layer);
        check_grouped(width, Shape::new(24, 3, 2), 40, layer.stride(2));
    }
}

#[test]
fn more_taps_than_are_gone_through_at_once() {
    for width in [1, 2, 4, 8] {
        let layer = Convolution::new(24, 9).padding(4);
        check_grouped(width, Shape::new(24, 10, 13), 2, layer);
        check_grouped(width, Shape::new(24, 4, 3), 9, layer.stride(2));
    }
}

#[test]
fn groups_of_another_width_are_products() {
    for (from, to, groups) in [(24, 24, 8), (24, 24, 1), (16, 32, 4), (32, 32, 2)] {
        let layer = Convolution::new(to, 3).padding(1).groups(groups);
        let input = Shape::new(from, 5, 4);
        let found = check_as("grouped", input, 2, |graph, x| {
            graph.convolution("layer", x, &layer).unwrap()
        });
        assert_eq!(found, 0, "{from} to {to}, {groups} groups");
    }
}
