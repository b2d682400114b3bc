//! What do pictures with labels look like in memory?

/// Grey pictures of one size, each with a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Rows of one picture.
    pub height: usize,
    /// Columns of one picture.
    pub width: usize,
    /// `len() * height * width` grey values, row by row, picture by picture; 0 is black.
    pub pixels: Vec<u8>,
    /// The class of each picture.
    pub labels: Vec<u8>,
}

impl Images {
    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The `height * width` grey values of picture `i`.
    ///
    /// # Panics
    /// When `i` is not below [`Images::len`].
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.height * self.width;
        &self.pixels[i * size..][..size]
    }

    /// Copies of the pictures at `indices`, in that order.
    pub(super) fn select(&self, indices: &[u32]) -> Images {
        let size = self.height * self.width;
        let mut pixels = Vec::with_capacity(indices.len() * size);
        for &i in indices {
            pixels.extend_from_slice(self.image(i as usize));
        }
        let labels = indices.iter().map(|&i| self.labels[i as usize]).collect();
        Images { height: self.height, width: self.width, pixels, labels }
    }
}

/// Pictures of the digits 0 to 9: some to learn from, others to be tested on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigitsSplit {
    /// To learn from.
    pub train: Images,
    /// Held out.
    pub test: Images,
    /// Where they come from, in words for the user.
    pub source: String,
}
