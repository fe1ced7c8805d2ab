//! Where plugins are asked: the extension points of upstream's scheduling framework.

/// One point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Before a pod queues, and while its group is placed.
    PreEnqueue,
    /// Who goes first: one plugin, the same for all profiles.
    QueueSort,
    /// Before any node is looked at.
    PreFilter,
    Filter,
    /// After all nodes were refused.
    PostFilter,
    PreScore,
    Score,
    /// When a node is chosen, and when that comes to nothing.
    Reserve,
    /// Whether a pod that has its room may go, or must wait.
    Permit,
    /// What must be so before the pod is bound.
    PreBind,
    Bind,
    /// After the pod was bound.
    PostBind,
}

impl Point {
    /// All of them, in the order in which a pod comes to them.
    pub(crate) const ALL: [Self; 12] = [
        Self::PreEnqueue,
        Self::QueueSort,
        Self::PreFilter,
        Self::Filter,
        Self::PostFilter,
        Self::PreScore,
        Self::Score,
        Self::Reserve,
        Self::Permit,
        Self::PreBind,
        Self::Bind,
        Self::PostBind,
    ];

    /// How upstream calls those who are asked there.
    pub(crate) fn interface(self) -> String {
        format!("{self:?}Plugin")
    }
}

/// Some points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Points(u16);

impl Points {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(points: &[Point]) -> Self {
        let (mut bits, mut n) = (0, 0);
        while n < points.len() {
            bits |= 1 << points[n] as u16;
            n += 1;
        }
        Self(bits)
    }

    pub(crate) const fn has(self, point: Point) -> bool {
        self.0 & (1 << point as u16) != 0
    }
}

impl FromIterator<Point> for Points {
    fn from_iter<T: IntoIterator<Item = Point>>(points: T) -> Self {
        Self(points.into_iter().fold(0, |bits, point| bits | Self::of(&[point]).0))
    }
}
