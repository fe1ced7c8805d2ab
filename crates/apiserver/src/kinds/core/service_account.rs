//! ServiceAccount: who a pod is.

use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};

use crate::kinds::{Column, Kind, Row, row};

/// The row of ServiceAccount.
pub(crate) const KIND: Row = Row { short: &["sa"], answer_deleted: true, ..row::<ServiceAccount>() };

/// Secrets are referred to by name only.
fn clean(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
    }
}

impl Kind for ServiceAccount {
    fn prepare_create(&mut self) {
        clean(self);
    }

    fn prepare_update(&mut self, _old: &Self) {
        clean(self);
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::<Self>::text("Secrets", |account, _| account.secrets.iter().flatten().count().into()),
            Column::age(),
        ]
    }
}
